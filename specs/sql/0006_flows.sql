-- Flows as people handle them, and lists of executions.
SET LOCAL ROLE windlass_owner;
