# Running a whole Windlass on this host.
.PHONY: run migrate operator
run: build $(if $(filter 1,$(LOCAL_MODEL)),setup-model) ## start everything, until Ctrl-C; LOCAL_MODEL=1: with a small model
	@exec $(PYTHON) tools/stack/stack.py run $(if $(filter 1,$(LOCAL_MODEL)),--local-model)
migrate: ## bring the database of WINDLASS_POSTGRES_URL up to date
	@$(PYTHON) tools/stack/stack.py migrate
operator: ## make an operator of the platform: make operator EMAIL=ops@example.org
	@$(PYTHON) tools/stack/make_operator.py "$(EMAIL)"
