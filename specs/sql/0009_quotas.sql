-- Plans, limits, usage, retention.
SET LOCAL ROLE windlass_owner;
