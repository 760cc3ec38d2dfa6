/* What the files of the OpenAPI reader share. */
#ifndef WL_CODEC_OPENAPI_INTERNAL_H
#define WL_CODEC_OPENAPI_INTERNAL_H

#include "lib/codec/openapi_document.h"

#define OPENAPI_PLACE_TEXT 256
#define OPENAPI_STEPS_MOST 20000000 /* members passed over: keeps the time of any document below a second or so */

struct openapi_entry {
	const char *key;
	const struct wl_json *value;
};

struct openapi_reader {
	const struct wl_json *document;
	const struct wl_openapi_choice *choice;
	struct wl_flow_faults *faults;
	struct wl_json *warnings;
	struct openapi_entry *schemas; /* components.schemas by name: looked up for nearly every reference */
	size_t schema_count;
	long values;	    /* of all schemas made so far */
	long schema_values; /* of the one at hand */
	long steps;	    /* members passed over while following references */
	bool cut;	    /* the schema at hand was cut somewhere */
	bool no_memory;
};

/* Where something stands, for faults: a chain on the stack. Of key, pointer and index one counts, in this order. */
struct openapi_place {
	const struct openapi_place *parent;
	const char *key;
	const char *pointer; /* of a reference, without its "#/" */
	int index;
};

char *openapi_place_text(const struct openapi_place *place, char text[OPENAPI_PLACE_TEXT]);
void openapi_fault(struct openapi_reader *reader, const struct openapi_place *place, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void openapi_warn(struct openapi_reader *reader, const struct openapi_place *place, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Put a member or element in, without looking for its key; NULL marks the reader as out of memory. Takes it over. */
void openapi_put(struct openapi_reader *reader, struct wl_json *object, const char *key, struct wl_json *child);
void openapi_append(struct openapi_reader *reader, struct wl_json *array, struct wl_json *child);
struct wl_json *openapi_new(struct openapi_reader *reader, enum wl_json_type type); /* object or array */

/*
 * What an object with $ref refers to: one step. *place becomes the target's (its pointer lives in the document). NULL
 * with a fault when it leads nowhere or to another document.
 */
const struct wl_json *openapi_follow(struct openapi_reader *reader, const struct wl_json *object,
				     struct openapi_place *place);

/* What an object stands for: itself, or where its $ref leads in the end. As above; a circle is a fault, too. */
const struct wl_json *openapi_resolve(struct openapi_reader *reader, const struct wl_json *object,
				      struct openapi_place *place);

/*
 * A schema of the document as draft 7; `request`: it describes what is sent, so that what is read-only is left out,
 * else what is write-only. Never NULL but without memory.
 */
struct wl_json *openapi_schema(struct openapi_reader *reader, const struct wl_json *schema,
			       const struct openapi_place *place, bool request);

/* An operation, and what the path item around it gives it. */
struct openapi_operation {
	const struct wl_json *object;
	const struct wl_json *item; /* the path item */
	struct openapi_place place, item_place;
	const char *method; /* upper case */
	const char *path;
	const char *id; /* operationId, or NULL */
};

/* The tool of an operation without its name, NULL when there were faults or no memory. */
struct wl_json *openapi_tool(struct openapi_reader *reader, const struct openapi_operation *operation);

/* The address of the operation's server, allocated; NULL with a fault. */
char *openapi_server(struct openapi_reader *reader, const struct openapi_operation *operation);
/* All servers of the document as texts. */
struct wl_json *openapi_servers(struct openapi_reader *reader);
/* "auth" of an execution_config, NULL when none is needed (or without memory). */
struct wl_json *openapi_auth(struct openapi_reader *reader, const struct openapi_operation *operation);

#endif
