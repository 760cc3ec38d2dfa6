/*
 * Commands that are one call of the API each, such as `windlass tools delete NAME`: rows of tables, walked by one
 * function. A group is a command; its first word names the action.
 */
#ifndef WL_CLI_ACTIONS_H
#define WL_CLI_ACTIONS_H

#include "cli/session.h"

#include <stdint.h>

enum cli_field_type {
	CLI_FIELD_TEXT,
	CLI_FIELD_NUMBER,
	CLI_FIELD_TRUE,	   /* a flag that was given */
	CLI_FIELD_ALWAYS,  /* always true, whatever was given */
	CLI_FIELD_FALSE,   /* always false */
	CLI_FIELD_LITERAL, /* always the text of `from` */
	CLI_FIELD_NAMED,   /* a number under quotas.<the word that `member` names>; "default" is null */
	CLI_FIELD_SECRET,  /* the first line of a file */
	CLI_FIELD_JSON,	   /* JSON text */
	CLI_FIELD_LIST,	   /* texts with commas between them */
	CLI_FIELD_FILE,	   /* the text of the file of that name */
	CLI_FIELD_VERDICT, /* approve: true, reject: false */
	CLI_FIELD_ID,	   /* name or id of a flow: its id */
	CLI_FIELD_INPUTS   /* all --input and --input-json options */
};

/* Where a member of the body, or a parameter of the query, comes from. */
struct cli_field {
	const char *from;   /* a word by its place behind the action, "1" to "9", or the name of an option */
	const char *member; /* "a.b": inside another object */
	enum cli_field_type type;
	bool in_query;
};

enum cli_shape {
	CLI_SHAPE_NOTHING, /* 204 */
	CLI_SHAPE_TABLE,   /* a list under `member`, by pages or by cursor */
	CLI_SHAPE_ONE,	   /* the whole answer, for people indented */
	CLI_SHAPE_LINES,   /* a list of texts under `member`, one a line */
	CLI_SHAPE_TEXT	   /* the text under `member` alone: for scripts */
};

struct cli_action {
	const char *name; /* NULL ends a table */
	int least, most;  /* words behind the action */
	const char *method;
	const char
		*path; /* {name}: the first word, a name or an id of the group's things; {1} to {9}: a word as it is */
	const struct cli_field *fields; /* NULL: none */
	bool body_file;			/* the last word is a JSON or YAML file: the body */
	enum cli_shape shape;
	const char *member;
	const char *const *columns; /* of a table: heading, member, heading, member, NULL */
	bool by_cursor;
	/* does it all by itself instead; `words` are those behind the action */
	int (*run)(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err);
};

struct cli_group {
	const char *name; /* of the command; NULL ends the table */
	const char *path; /* of the list in which names are looked up */
	const char *member;
	const char *key; /* the member that is a thing's name */
	const struct cli_action *actions;
};

extern const struct cli_group cli_groups[];

/* The function of every command that is a group. */
int cli_group_run(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err);

/*
 * The id of the thing with that id or name. -EREMOTEIO when there is none, or more than one. `id` has room for
 * WL_UUID_TEXT.
 */
int cli_thing_find(struct cli *cli, const struct cli_group *group, const char *id_or_name, char *id,
		   struct wl_error *err);

/* Append `text` percent-encoded (RFC 3986 §2.1) for a path or a query. */
void cli_append_encoded(struct wl_buffer *out, const char *text);

/*
 * Write the `size` bytes of a download to standard output, or to a new file when `file` is not NULL, piece by piece; a
 * file that fails is removed again.
 */
int cli_download(struct cli *cli, const char *path, uint64_t size, const char *file, struct wl_error *err);

/* audit.c, artifacts.c, exports.c, crewai.c, crews.c */
int cli_crew_test(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err);
int cli_agent_test(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err);
int cli_export_crewai(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err);
int cli_audit_export(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err);
int cli_audit_verify(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err);
int cli_artifact_get(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err);
int cli_export_get(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err);
int cli_flow_export(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err);

#endif
