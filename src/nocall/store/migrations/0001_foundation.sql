-- Every table of an organization has org_id leading its primary key, unique constraints and
-- foreign keys, so that the schema shards by organization. Ids are 24 hex digits, compared as
-- bytes. Instants have millisecond precision by the time they get here.

create table instance (
    only_row boolean primary key default true check (only_row),
    instance_id text not null
);

create table org (
    org_id text collate "C" primary key,
    name text not null,
    admin_email text not null,
    region text not null,
    created_at timestamptz not null,
    exported_seq bigint,
    purged_at timestamptz
);

create table token (
    org_id text collate "C" not null references org,
    token_id text collate "C" not null,
    name text not null,
    scopes text[] not null,
    hash bytea not null,
    created_at timestamptz not null,
    created_by text not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    primary key (org_id, token_id),
    unique (org_id, hash)
);

-- Operators stand above organizations; this table belongs to none.
create table operator_token (
    token_id text collate "C" primary key,
    name text not null,
    hash bytea not null unique,
    created_at timestamptz not null,
    expires_at timestamptz,
    revoked_at timestamptz
);

create table ledger_head (
    org_id text collate "C" primary key references org,
    seq bigint not null,
    hash bytea not null,
    at timestamptz not null
);

create table ledger_entry (
    org_id text collate "C" not null references org,
    seq bigint not null,
    at timestamptz not null,
    kind text not null,
    actor_kind text not null,
    actor_id text not null,
    actor_name text not null,
    source text,
    reason text,
    detail text not null,
    item_count integer not null,
    items_digest bytea not null,
    previous_hash bytea not null,
    hash bytea not null,
    primary key (org_id, seq)
);

-- An as-of question starts from an instant.
create index ledger_entry_at on ledger_entry (org_id, at, seq);

create table ledger_item (
    org_id text collate "C" not null,
    seq bigint not null,
    position integer not null,
    number bigint not null,
    record_id text collate "C" not null,
    type text,
    reason text,
    batch_id text collate "C",
    request_uuid text,
    recording_sha256 bytea,
    transcript_sha256 bytea,
    primary key (org_id, seq, position),
    foreign key (org_id, seq) references ledger_entry
);

create index ledger_item_number on ledger_item (org_id, number, seq);

create table batch (
    org_id text collate "C" not null references org,
    batch_id text collate "C" not null,
    name text not null,
    calling_numbers text[] not null,
    retry_count integer not null,
    delay_seconds integer not null,
    timezone text,
    calling_hour jsonb,
    allowed_days integer[],
    status text not null,
    created_at timestamptz not null,
    primary key (org_id, batch_id)
);

create table call (
    org_id text collate "C" not null,
    batch_id text collate "C" not null,
    call_id text collate "C" not null,
    number bigint not null,
    fields jsonb not null,
    status text not null,
    -- The ledger seq the organization stood at when the call was added: the call is blocked for
    -- good by any listing from this seq onward.
    added_seq bigint not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (org_id, call_id),
    unique (org_id, batch_id, number),
    foreign key (org_id, batch_id) references batch
);

create table attempt (
    org_id text collate "C" not null,
    request_uuid text collate "C" not null,
    call_id text collate "C" not null,
    status text not null,
    duration_seconds integer,
    recording_url text,
    transcript text,
    created_at timestamptz not null,
    primary key (org_id, request_uuid),
    foreign key (org_id, call_id) references call
);

create index attempt_call on attempt (org_id, call_id, created_at);

create table dnc_state (
    org_id text collate "C" primary key references org,
    enforcement boolean not null,
    next_ordinal bigint not null
);

create table dnc_record (
    org_id text collate "C" not null references org,
    record_id text collate "C" not null,
    number bigint not null,
    type text,
    batch_id text collate "C",
    request_uuid text,
    call_recording text,
    transcription text,
    source text not null,
    added_by text not null,
    reason text,
    requested_at timestamptz,
    created_at timestamptz not null,
    seq bigint not null,
    changed_seq bigint not null,
    -- Counts up with (entry seq, position) and gives the list its order and its pages.
    ordinal bigint not null,
    -- number, type and requestUUID, case-folded, a line each: what a search looks through.
    search_text text collate "C" not null,
    primary key (org_id, record_id),
    unique (org_id, number)
);

-- A list page reads this index backwards; a search reads it whole, without the rows.
create unique index dnc_record_order on dnc_record (org_id, ordinal) include (search_text);
create index dnc_record_request on dnc_record (org_id, request_uuid)
    where request_uuid is not null;

-- How many records each run of 4,096 ordinals still holds: totals and deep pages without a count.
create table dnc_block (
    org_id text collate "C" not null references org,
    block bigint not null,
    record_count integer not null,
    primary key (org_id, block)
);

create table idempotency (
    org_id text collate "C" not null references org,
    token_id text collate "C" not null,
    key text collate "C" not null,
    body_sha256 bytea not null,
    response bytea,
    created_at timestamptz not null,
    primary key (org_id, token_id, key)
);

create index idempotency_age on idempotency (org_id, created_at);

create table follower_cursor (
    org_id text collate "C" not null references org,
    follower text not null,
    seq bigint not null,
    primary key (org_id, follower)
);
