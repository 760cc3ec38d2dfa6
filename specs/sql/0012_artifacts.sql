-- Files that runs leave behind.
SET LOCAL ROLE windlass_owner;
