-- Runs that wait for a time or a person.
SET LOCAL ROLE windlass_owner;
