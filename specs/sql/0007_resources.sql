-- Agents, crews, LLM providers and tools.
SET LOCAL ROLE windlass_owner;
