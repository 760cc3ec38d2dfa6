# windlass-web: one binary of kore's objects, our server and the library.
WEB_SOURCES := $(wildcard webapp/server/*.c)
WEB_OBJECTS := $(WEB_SOURCES:%.c=$(OBJ)/%.o) $(call objects,webapp/server/core/*.c) $(OBJ)/gen/routes.o

$(GEN)/routes.c: specs/openapi.yaml tools/gen_routes.py
	@echo "  GEN $@"
	@$(PYTHON) tools/gen_routes.py $< $@

$(OBJ)/gen/routes.o: $(GEN)/routes.c webapp/server/core/route.h
	@mkdir -p $(@D)
	@echo "  CC  $<"
	@$(CC) $(CFLAGS) -c -o $@ $<

# kore_bridge.c alone sees kore's headers, which are not written for our warnings' taste
$(OBJ)/webapp/server/kore_bridge.o: webapp/server/kore_bridge.c $(KORE_STAMP)
	@mkdir -p $(@D)
	@echo "  CC  $<"
	@$(CC) $(CFLAGS) $(KORE_CFLAGS) -c -o $@ $<

# kore finds handlers by name in the program itself: hence -rdynamic, which KORE_LDFLAGS has. libjq is not linked: its
# libonig has a regcomp() of its own, which kore would get in place of libc's.
$(BIN)/windlass-web: $(WEB_OBJECTS) $(LIB) $(KORE_STAMP)
	@mkdir -p $(@D)
	@echo "  LD  $@"
	@$(CXX) $(LDFLAGS) -o $@ $(WEB_OBJECTS) $(KORE_OBJECTS) $(LIB) $(KORE_LDFLAGS) -lwslay $(filter-out -ljq -lonig,$(PKG_LIBS))
