"""Organizations and tokens: create, find, change, authenticate, revoke."""

from nocall.org.idempotency import (
    claim_key,
    forget_expired_keys,
    keep_response,
    release_key,
)
from nocall.org.organization import (
    change,
    create,
    every,
    get,
    is_purged,
    mark_exported,
    purge,
    require_region,
)
from nocall.org.token import (
    Secret,
    authenticate,
    authenticate_operator,
    create_operator_token,
    create_token,
    operator_tokens,
    revoke_operator_token,
    revoke_token,
    token_org,
    tokens,
)

__all__ = [
    "Secret",
    "authenticate",
    "authenticate_operator",
    "change",
    "claim_key",
    "create",
    "create_operator_token",
    "create_token",
    "every",
    "forget_expired_keys",
    "get",
    "is_purged",
    "keep_response",
    "mark_exported",
    "operator_tokens",
    "purge",
    "release_key",
    "require_region",
    "revoke_operator_token",
    "revoke_token",
    "token_org",
    "tokens",
]
