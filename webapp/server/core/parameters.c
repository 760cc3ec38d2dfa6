#include "webapp/server/core/parameters.h"

#include "lib/base/cleanup.h"
#include "lib/base/ids.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

bool web_utf8_valid(const char *text, size_t length, size_t *ret_characters)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t characters = 0;
	for (size_t i = 0; i < length; characters++) {
		unsigned char first = bytes[i];
		size_t more = first < 0x80   ? 0
			      : first < 0xc2 ? 9
			      : first < 0xe0 ? 1
			      : first < 0xf0 ? 2
			      : first < 0xf5 ? 3
					     : 9;
		if (more == 9 || i + more >= length)
			return false;
		/* the second byte's range keeps out overlong forms, surrogates and what is above U+10FFFF */
		unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
		unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
		for (size_t n = 1; n <= more; n++) {
			if (bytes[i + n] < low || bytes[i + n] > high)
				return false;
			low = 0x80;
			high = 0xbf;
		}
		i += more + 1;
	}
	if (ret_characters)
		*ret_characters = characters;
	return true;
}

static int hex_value(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	digit = (char)(digit | 0x20);
	return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

int web_percent_decode(const char *text, size_t length, bool in_query, char *out)
{
	size_t used = 0;
	for (size_t i = 0; i < length; i++) {
		char byte = text[i];
		if (byte == '+' && in_query) {
			byte = ' ';
		} else if (byte == '%') {
			int high = i + 2 < length ? hex_value(text[i + 1]) : -1;
			int low = i + 2 < length ? hex_value(text[i + 2]) : -1;
			if (high < 0 || low < 0)
				return -1;
			byte = (char)(high * 16 + low);
			i += 2;
		}
		if (byte == '\0')
			return -1;
		out[used++] = byte;
	}
	out[used] = '\0';
	return web_utf8_valid(out, used, NULL) ? (int)used : -1;
}

/* Whether a character is one of a set such as A-Za-z0-9_- */
static bool in_set(char character, const char *set, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (i + 2 < length && set[i + 1] == '-') {
			if (character >= set[i] && character <= set[i + 2])
				return true;
			i += 2;
		} else if (set[i] == character) {
			return true;
		}
	}
	return false;
}

/* How often a piece may come: behind it stands +, {n}, {n,m} or nothing. Returns what is behind that. */
static const char *read_count(const char *pattern, unsigned long *ret_least, unsigned long *ret_most)
{
	char *end;
	*ret_least = *ret_most = 1;
	if (*pattern == '+') {
		*ret_most = ULONG_MAX;
		return pattern + 1;
	}
	if (*pattern != '{')
		return pattern;
	*ret_least = *ret_most = strtoul(pattern + 1, &end, 10);
	if (*end == ',')
		*ret_most = strtoul(end + 1, &end, 10);
	return end + (*end == '}');
}

bool web_pattern_matches(const char *pattern, const char *text)
{
	pattern += *pattern == '^';
	while (*pattern && *pattern != '$') {
		const char *set = pattern + (*pattern == '[');
		size_t length = *pattern == '[' ? strcspn(set, "]") : 1;
		unsigned long least, most, count = 0;
		pattern = read_count(set + length + (*pattern == '['), &least, &most);
		while (*text && count < most && in_set(*text, set, length)) {
			text++;
			count++;
		}
		if (count < least)
			return false;
	}
	return !*text;
}

static void check_integer(const struct web_parameter *parameter, const char *text, struct wl_flow_faults *faults)
{
	char *end;
	errno = 0;
	long long number = strtoll(text, &end, 10);
	const char *digits = text + (*text == '-');
	if (*digits < '0' || *digits > '9' || *end || errno)
		wl_flow_fault_add(faults, parameter->name, "must be a whole number");
	else if (number < parameter->least || number > parameter->most)
		wl_flow_fault_add(faults, parameter->name, "must lie between %lld and %lld",
				  (long long)parameter->least, (long long)parameter->most);
}

static void check_string(const struct web_parameter *parameter, const char *text, struct wl_flow_faults *faults)
{
	size_t characters;
	if (!web_utf8_valid(text, strlen(text), &characters)) {
		wl_flow_fault_add(faults, parameter->name, "is not UTF-8");
		return;
	}
	if ((int64_t)characters < parameter->least || (int64_t)characters > parameter->most)
		wl_flow_fault_add(faults, parameter->name, "must have %lld to %lld characters",
				  (long long)parameter->least, (long long)parameter->most);
	else if (parameter->pattern && !web_pattern_matches(parameter->pattern, text))
		wl_flow_fault_add(faults, parameter->name, "must match %s", parameter->pattern);
	if (!parameter->words)
		return;
	for (const char *const *word = parameter->words; *word; word++)
		if (strcmp(*word, text) == 0)
			return;
	wl_flow_fault_add(faults, parameter->name, "is not one of the values it may have");
}

static void check(const struct web_parameter *parameter, const char *text, struct wl_flow_faults *faults)
{
	if (parameter->type == WEB_INTEGER)
		check_integer(parameter, text, faults);
	else if (parameter->type == WEB_STRING)
		check_string(parameter, text, faults);
	else if (!wl_uuid_valid(text))
		wl_flow_fault_add(faults, parameter->name, "must be a UUID");
}

/* Decode one value and keep it. */
static int keep(struct web_parameters *parameters, int index, const char *text, size_t length, bool in_query,
		struct wl_flow_faults *faults)
{
	_wl_free_ char *decoded = malloc(length + 1);
	if (!decoded)
		return -ENOMEM;
	const struct web_parameter *parameter = &parameters->route->parameters[index];
	if (parameter->place == WEB_IN_HEADER) {
		memcpy(decoded, text, length);
		decoded[length] = '\0';
	} else if (web_percent_decode(text, length, in_query, decoded) < 0) {
		wl_flow_fault_add(faults, parameter->name, "is not well percent-encoded UTF-8");
		return 0;
	}
	check(parameter, decoded, faults);
	if (parameter->type == WEB_UUID) /* one spelling for keys and caches */
		for (char *at = decoded; *at; at++)
			*at = (char)(*at >= 'A' && *at <= 'F' ? *at | 0x20 : *at);
	parameters->text[index] = wl_steal(decoded);
	return 0;
}

/* One name=value of the query. */
static int read_pair(struct web_parameters *parameters, const char *pair, size_t length, struct wl_flow_faults *faults)
{
	size_t name_length = 0;
	while (name_length < length && pair[name_length] != '=')
		name_length++;
	char name[64];
	if (name_length >= sizeof(name) || web_percent_decode(pair, name_length, true, name) < 0) {
		if (parameters->route->query_any)
			return 0;
		wl_flow_fault_add(faults, "query", "has a parameter that is not known");
		return 0;
	}
	const char *value = pair + name_length + (name_length < length);
	size_t value_length = (size_t)(pair + length - value);
	for (int i = 0; i < parameters->route->parameter_count; i++) {
		const struct web_parameter *parameter = &parameters->route->parameters[i];
		if (parameter->place != WEB_IN_QUERY || strcmp(parameter->name, name) != 0)
			continue;
		if (parameters->text[i]) {
			wl_flow_fault_add(faults, name, "is given twice");
			return 0;
		}
		return keep(parameters, i, value, value_length, true, faults);
	}
	if (!parameters->route->query_any)
		wl_flow_fault_add(faults, name, "is not a parameter of this operation");
	return 0;
}

static int read_query(struct web_parameters *parameters, const char *query, struct wl_flow_faults *faults)
{
	int pairs = 0;
	while (query && *query) {
		size_t length = strcspn(query, "&");
		if (++pairs > WEB_QUERY_MAX) {
			wl_flow_fault_add(faults, "query", "has more than %d parameters", WEB_QUERY_MAX);
			return 0;
		}
		int rc = length ? read_pair(parameters, query, length, faults) : 0;
		if (rc < 0)
			return rc;
		query += length + (query[length] == '&');
	}
	return 0;
}

/* Path values and headers, then defaults and what is missing. */
static int read_rest(struct web_parameters *parameters, const struct web_path_values *path, web_header_source *header,
		     void *context, struct wl_flow_faults *faults)
{
	int in_path = 0;
	for (int i = 0; i < parameters->route->parameter_count; i++) {
		const struct web_parameter *parameter = &parameters->route->parameters[i];
		int rc = 0;
		if (parameter->place == WEB_IN_PATH && in_path < path->count) {
			rc = keep(parameters, i, path->text[in_path], path->length[in_path], false, faults);
			in_path++;
		} else if (parameter->place == WEB_IN_HEADER) {
			const char *value = header(context, parameter->name);
			rc = value ? keep(parameters, i, value, strlen(value), false, faults) : 0;
		}
		if (rc < 0)
			return rc;
		if (parameters->text[i])
			continue;
		if (parameter->standard) {
			parameters->text[i] = strdup(parameter->standard);
			if (!parameters->text[i])
				return -ENOMEM;
		} else if (parameter->required && faults->count == 0) {
			wl_flow_fault_add(faults, parameter->name, "is required");
		}
	}
	return 0;
}

int web_parameters_read(const struct web_route *route, const struct web_path_values *path, const char *query,
			web_header_source *header, void *context, struct web_parameters *ret_parameters,
			struct wl_flow_faults *faults)
{
	memset(ret_parameters, 0, sizeof(*ret_parameters));
	ret_parameters->route = route;
	int before = faults->count + faults->skipped;
	int rc = read_query(ret_parameters, query, faults);
	if (rc == 0)
		rc = read_rest(ret_parameters, path, header, context, faults);
	if (rc < 0)
		return rc;
	return faults->count + faults->skipped > before ? -EINVAL : 0;
}

void web_parameters_release(struct web_parameters *parameters)
{
	for (int i = 0; i < WEB_PARAMETERS_MAX; i++)
		free(parameters->text[i]);
	memset(parameters, 0, sizeof(*parameters));
}

const char *web_parameter_text(const struct web_parameters *parameters, const char *name, const char *otherwise)
{
	for (int i = 0; parameters->route && i < parameters->route->parameter_count; i++)
		if (strcmp(parameters->route->parameters[i].name, name) == 0 && parameters->text[i])
			return parameters->text[i];
	return otherwise;
}

int64_t web_parameter_number(const struct web_parameters *parameters, const char *name, int64_t otherwise)
{
	const char *text = web_parameter_text(parameters, name, NULL);
	return text ? strtoll(text, NULL, 10) : otherwise;
}
