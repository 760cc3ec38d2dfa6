UNIT_LINK_web_core_test := $(call objects,webapp/server/core/*.c) $(OBJ)/gen/routes.o
UNIT_LINK_web_token_test :=
UNIT_LINK_mcp_message_test := $(call objects,webapp/server/core/origin.c)
UNIT_LINK_event_channel_test := $(call objects,webapp/server/event_channel.c)
