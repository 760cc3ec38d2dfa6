# The cores of the web server and of the scheduler; that of the scheduler is linked into every test.
UNIT_LINK_hook_parts_test := $(call objects,webapp/server/core/*.c webapp/server/hook_context.c) $(OBJ)/gen/routes.o
