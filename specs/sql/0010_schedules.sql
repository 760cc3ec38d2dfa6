-- Runs started by a clock.
SET LOCAL ROLE windlass_owner;
