# The sandbox profile crewai: the real package with all it needs, in the download cache.
.PHONY: crewai-profile
crewai-profile: ## install the sandbox profile crewai: 1 GB in the download cache
	@$(PYTHON) tools/setup/setup.py crewai
