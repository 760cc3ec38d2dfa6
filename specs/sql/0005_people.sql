-- People, tenants, API keys, operators.
SET LOCAL ROLE windlass_owner;
