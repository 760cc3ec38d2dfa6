-- Runs started by a webhook, and webhooks sent at the end of a run.
SET LOCAL ROLE windlass_owner;
