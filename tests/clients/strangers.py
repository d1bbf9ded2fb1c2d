"""How schemathesis makes values of our scalars, and what it may not find: a server error, or an error without a code."""

import schemathesis
from hypothesis import strategies as st
from schemathesis.graphql import nodes

schemathesis.graphql.scalar("BigInt", st.integers().map(str).map(nodes.String))
schemathesis.graphql.scalar("Currency", st.sampled_from(["CNY", "JPY", "cny", ""]).map(nodes.String))
schemathesis.graphql.scalar("IdempotencyKey", st.from_regex(r"\A[A-Za-z0-9_-]{14,66}\Z").map(nodes.String))
schemathesis.graphql.scalar("DateTime", st.datetimes().map(lambda at: at.isoformat() + "Z").map(nodes.String))


@schemathesis.check
def nothing_breaks(ctx, response, case):
    assert response.status_code < 500, response.status_code
    for error in response.json().get("errors", []):
        code = error["extensions"]["code"]
        assert code not in ("INTERNAL", "STORE_UNAVAILABLE"), error
