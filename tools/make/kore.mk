# kore: Debian ships its sources; copy them, apply our patches in order, compile the objects that
# windlass-web is linked with. Leaves $(KORE)/{include,obj,features,ldflags}.
#
# A program that uses kore compiles with $(KORE_CFLAGS), depends on $(KORE_STAMP) and links
# $(KORE_OBJECTS) $(KORE_LDFLAGS). All three are evaluated only when a recipe runs.
KORE_SOURCE := /usr/share/kore
KORE := $(patsubst %/obj,%/kore,$(OBJ))
KORE_STAMP := $(KORE)/stamp
KORE_PATCHES := $(sort $(wildcard webapp/server/kore/*.patch))
KORE_FLAGS := KORE_SINGLE_BINARY=1 TASKS=1
ifeq ($(MODE),asan)
KORE_FLAGS += SANITIZE=address,undefined
else ifeq ($(MODE),tsan)
KORE_FLAGS += SANITIZE=thread
endif
KORE_CFLAGS = -isystem $(KORE)/include $(shell cat $(KORE)/features)
KORE_LDFLAGS = $(shell cat $(KORE)/ldflags)
KORE_OBJECTS = $(wildcard $(KORE)/obj/*.o)

# Changes only when a patch is added, renamed or removed, so that a removed one counts too.
$(KORE).patches: force-kore-list
	@mkdir -p $(@D)
	@printf '%s\n' $(KORE_PATCHES) | cmp -s - $@ || printf '%s\n' $(KORE_PATCHES) > $@
.PHONY: force-kore-list

# kore's Makefile needs make's own rules (version.o) and a directory without spaces in its compiler
# flags: Debian's build flags would carry the full path (fixfilepath), so that one is turned off.
$(KORE_STAMP): $(KORE).patches $(KORE_PATCHES)
	@test -d $(KORE_SOURCE)/src || { echo "kore's sources are missing in $(KORE_SOURCE): run 'make setup-build'" >&2; exit 1; }
	@echo "  KORE $(KORE)"
	@rm -rf $(KORE) && mkdir -p $(KORE) && cp -R $(KORE_SOURCE)/. $(KORE)/
	@for patch in $(KORE_PATCHES); do \
		patch --quiet --no-backup-if-mismatch --fuzz=0 -d $(KORE) -p1 < "$$patch" || { echo "$$patch does not apply" >&2; exit 1; }; done
	@env -u MAKEFLAGS -u MFLAGS -u MAKEOVERRIDES -u MAKELEVEL DEB_BUILD_MAINT_OPTIONS=reproducible=-fixfilepath \
		make -s -j2 -C $(KORE) OBJDIR=obj $(KORE_FLAGS) objects
	@cp $(KORE)/obj/features $(KORE)/features && cp $(KORE)/obj/ldflags $(KORE)/ldflags
	@touch $@

.PHONY: kore
kore: $(KORE_STAMP)
