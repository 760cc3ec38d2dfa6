# Set-up: packages by apt, toolchains as wheels. Each step is skipped when its stamp is right.
.PHONY: setup-build setup-test setup-model
setup-build: ## install what building and running need
	@$(PYTHON) tools/setup/setup.py build
setup-test: ## install what the tests need, too
	@$(PYTHON) tools/setup/setup.py test

setup-model: ## install the local model, which LOCAL_MODEL=1 starts
	@$(PYTHON) tools/setup/setup.py model

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST) | sort -u
