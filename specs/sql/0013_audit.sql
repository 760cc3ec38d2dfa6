-- The audit log: sealed into a chain, shipped, listed.
SET LOCAL ROLE windlass_owner;
