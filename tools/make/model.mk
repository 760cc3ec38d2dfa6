# The whole state space of the lease protocol, with every misfortune at once: some minutes and 3 GB.
.PHONY: model
model: setup-test ## search the lease protocol's whole state space
	@mkdir -p build/model
	@cp tests/model/lease.pml build/model/
	@cd build/model && spin -a lease.pml && $(CC) -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=12000 -o pan pan.c && ./pan -m20000
