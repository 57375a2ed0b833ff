"""What /metrics tells, in a registry of this process's own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from nocall.model import Answer

CHECK_ROUTE = "/api/dnc/check"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "nocall_http_requests",
            "Requests answered",
            ["method", "route", "code"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "nocall_http_request_seconds",
            "Time from request to reply",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.verdicts = Counter(
            "nocall_check_verdicts", "Numbers checked", ["verdict"], registry=self.registry
        )
        self.database_up = Gauge(
            "nocall_database_up",
            "Whether the last readiness probe reached the database",
            registry=self.registry,
        )
        self.mail_waiting = Gauge(
            "nocall_mail_waiting_entries",
            "Ledger entries the mail follower has not passed yet",
            registry=self.registry,
        )

        self.tally = Tally()

    def text(self) -> bytes:
        self.tally.settle(self)
        return generate_latest(self.registry)


class Tally:
    """Plain counts of the fast lane, brought over when /metrics is read.

    A counter of the library takes a lock at each step; at 20,000 requests a second that shows.
    """

    def __init__(self) -> None:
        self.one_count = 0
        self.many_count = 0
        self.verdict_counts = dict.fromkeys(Answer, 0)

    def settle(self, metrics: Metrics) -> None:
        one_count, self.one_count = self.one_count, 0
        many_count, self.many_count = self.many_count, 0
        counts, self.verdict_counts = self.verdict_counts, dict.fromkeys(Answer, 0)
        metrics.requests.labels("GET", CHECK_ROUTE, "200").inc(one_count)
        metrics.requests.labels("POST", CHECK_ROUTE, "200").inc(many_count)
        for answer, count in counts.items():
            metrics.verdicts.labels(answer.value).inc(count)
