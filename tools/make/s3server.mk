# The S3 server of the tests; its first build takes half a minute on two idle cores, and downloads into the cache.
S3SERVER := build/bin/windlass-s3server
S3SERVER_SOURCES := $(wildcard tools/s3server/*.go) tools/s3server/go.mod tools/s3server/go.sum

.PHONY: s3server
s3server: $(S3SERVER) ## compile the S3 server of the tests
	@:

$(S3SERVER): $(S3SERVER_SOURCES)
	@mkdir -p $(@D)
	@echo "  GO  $@"
	@root="$$PWD"; cd tools/s3server && nice $(GO_ENV) "$$root/build/toolchain/bin/go" build -trimpath \
		-ldflags="-s -w" -o "$$root/$@" .
