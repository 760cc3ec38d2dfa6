#include "lib/base/settings.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct number_row {
	const char *name;
	size_t offset;
	long standard, least, most;
	const char *unit;
	unsigned programs;
	const char *meaning;
};

struct text_row {
	const char *name;
	size_t offset;
	const char *standard;
	unsigned programs;
	const char *meaning;
};

static const struct number_row number_rows[] = {
#define X(name, standard, least, most, unit, programs, meaning)                                                        \
	{ #name, offsetof(struct wl_settings, name), standard, least, most, unit, programs, meaning },
	WL_NUMBER_SETTINGS(X)
#undef X
};

static const struct text_row text_rows[] = {
#define X(name, standard, programs, meaning) { #name, offsetof(struct wl_settings, name), standard, programs, meaning },
	WL_TEXT_SETTINGS(X)
#undef X
};

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static int set_number(struct wl_settings *settings, const struct number_row *row, const char *value,
		      struct wl_error *err)
{
	char *end = NULL;
	errno = 0;
	long number = strtol(value, &end, 10);
	if (errno || end == value || *end || number < row->least || number > row->most)
		return wl_fail(err, EINVAL, "setting %s must be a whole number from %ld to %ld (%s), not '%.64s'",
			       row->name, row->least, row->most, row->unit, value);
	memcpy((char *)settings + row->offset, &number, sizeof(number));
	return 0;
}

static int set_text(struct wl_settings *settings, const struct text_row *row, const char *value, struct wl_error *err)
{
	if (strlen(value) >= WL_SETTING_TEXT_MAX)
		return wl_fail(err, EINVAL, "setting %s is longer than %d bytes", row->name, WL_SETTING_TEXT_MAX - 1);
	strcpy((char *)settings + row->offset, value);
	return 0;
}

int wl_settings_set(struct wl_settings *settings, const char *name, const char *value, struct wl_error *err)
{
	for (size_t i = 0; i < ROWS(number_rows); i++)
		if (strcmp(name, number_rows[i].name) == 0)
			return set_number(settings, &number_rows[i], value, err);
	for (size_t i = 0; i < ROWS(text_rows); i++)
		if (strcmp(name, text_rows[i].name) == 0)
			return set_text(settings, &text_rows[i], value, err);
	return wl_fail(err, ENOENT, "there is no setting '%.64s'; --help lists them", name);
}

static int set_defaults(struct wl_settings *settings, struct wl_error *err)
{
	memset(settings, 0, sizeof(*settings));
	for (size_t i = 0; i < ROWS(number_rows); i++)
		memcpy((char *)settings + number_rows[i].offset, &number_rows[i].standard, sizeof(long));
	for (size_t i = 0; i < ROWS(text_rows); i++)
		if (set_text(settings, &text_rows[i], text_rows[i].standard, err) < 0)
			return -err->code;
	return 0;
}

static const char *from_environment(const char *name)
{
	char variable[96] = "WINDLASS_";
	size_t used = strlen(variable);
	for (size_t i = 0; name[i] && used < sizeof(variable) - 1; i++)
		variable[used++] = (char)toupper((unsigned char)name[i]);
	variable[used] = '\0';
	const char *value = getenv(variable);
	return value && *value ? value : NULL;
}

static int read_environment(struct wl_settings *settings, struct wl_error *err)
{
	for (size_t i = 0; i < ROWS(number_rows); i++) {
		const char *value = from_environment(number_rows[i].name);
		if (value && set_number(settings, &number_rows[i], value, err) < 0)
			return -err->code;
	}
	for (size_t i = 0; i < ROWS(text_rows); i++) {
		const char *value = from_environment(text_rows[i].name);
		if (value && set_text(settings, &text_rows[i], value, err) < 0)
			return -err->code;
	}
	return 0;
}

static int read_argument(struct wl_settings *settings, const char *argument, struct wl_error *err)
{
	const char *equals = strchr(argument, '=');
	if (strncmp(argument, "--", 2) != 0 || !equals)
		return wl_fail(err, EINVAL, "'%.64s' is not of the form --name=value; --help lists the settings",
			       argument);
	char name[64];
	size_t length = (size_t)(equals - argument) - 2;
	if (length >= sizeof(name))
		return wl_fail(err, EINVAL, "there is no setting '%.64s'", argument);
	for (size_t i = 0; i < length; i++)
		name[i] = argument[i + 2] == '-' ? '_' : argument[i + 2];
	name[length] = '\0';
	return wl_settings_set(settings, name, equals + 1, err);
}

int wl_settings_load(struct wl_settings *settings, enum wl_program program, int argc, char **argv, struct wl_error *err)
{
	if (set_defaults(settings, err) < 0 || read_environment(settings, err) < 0)
		return -err->code;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			printf("usage: %s [--name=value ...]\n\n", argv[0]);
			wl_settings_help(stdout, program);
			return 1;
		}
		if (read_argument(settings, argv[i], err) < 0)
			return -err->code;
	}
	return 0;
}

void wl_settings_help(FILE *out, unsigned programs)
{
	for (size_t i = 0; i < ROWS(text_rows); i++)
		if (!programs || text_rows[i].programs & programs)
			fprintf(out, "  --%-20s %s%s%s%s\n", text_rows[i].name, text_rows[i].meaning,
				*text_rows[i].standard ? " (default " : "", text_rows[i].standard,
				*text_rows[i].standard ? ")" : "");
	for (size_t i = 0; i < ROWS(number_rows); i++)
		if (!programs || number_rows[i].programs & programs)
			fprintf(out, "  --%-20s %s (default %ld, %ld to %ld %s)\n", number_rows[i].name,
				number_rows[i].meaning, number_rows[i].standard, number_rows[i].least,
				number_rows[i].most, number_rows[i].unit);
}

static void environment_name(FILE *out, const char *name)
{
	fputs("`WINDLASS_", out);
	for (; *name; name++)
		fputc(toupper((unsigned char)*name), out);
	fputc('`', out);
}

void wl_settings_markdown(FILE *out)
{
	fputs("| variable | default | range | meaning |\n|---|---|---|---|\n", out);
	for (size_t i = 0; i < ROWS(text_rows); i++) {
		fputs("| ", out);
		environment_name(out, text_rows[i].name);
		fprintf(out, " | %s | text | %s |\n", text_rows[i].standard, text_rows[i].meaning);
	}
	for (size_t i = 0; i < ROWS(number_rows); i++) {
		fputs("| ", out);
		environment_name(out, number_rows[i].name);
		fprintf(out, " | %ld | %ld to %ld %s | %s |\n", number_rows[i].standard, number_rows[i].least,
			number_rows[i].most, number_rows[i].unit, number_rows[i].meaning);
	}
}

int wl_settings_need(const char *value, const char *name, const char *what, struct wl_error *err)
{
	if (*value)
		return 0;
	return wl_fail(err, EINVAL, "%s is not configured: set WINDLASS_%s", what, name);
}
