# Running a whole Windlass on this host.
.PHONY: run migrate operator
run: build ## start everything, until Ctrl-C
	@exec $(PYTHON) tools/stack/stack.py run
migrate: ## bring the database of WINDLASS_POSTGRES_URL up to date
	@$(PYTHON) tools/stack/stack.py migrate
operator: ## make an operator of the platform: make operator EMAIL=ops@example.org
	@$(PYTHON) tools/stack/make_operator.py "$(EMAIL)"
