# The embedded document server: a Go program of our own, built with the toolchain in build/toolchain.
# Modules and build results are kept in the download cache; the first build takes one to two minutes.
DOCSERVER := build/bin/windlass-docserver
DOCSERVER_SOURCES := $(wildcard tools/docserver/*.go) tools/docserver/go.mod tools/docserver/go.sum
WINDLASS_CACHE := $${XDG_CACHE_HOME:-$$HOME/.cache}/windlass
GO_ENV = env GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS=-modcacherw GOMODCACHE="$(WINDLASS_CACHE)/go/mod" \
	GOCACHE="$(WINDLASS_CACHE)/go/build"

.PHONY: docserver
docserver: $(DOCSERVER) ## compile the embedded document server
	@:

$(DOCSERVER): $(DOCSERVER_SOURCES)
	@mkdir -p $(@D)
	@echo "  GO  $@"
	@root="$$PWD"; cd tools/docserver && nice $(GO_ENV) "$$root/build/toolchain/bin/go" build -trimpath \
		-ldflags="-s -w" -o "$$root/$@" .
