#include "lib/crew/passages.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define NAMES_MAX 16
#define SENTENCE_MAX 300

int wl_crew_passages_add(struct crew_passages *passages, const char *text, size_t length, bool head)
{
	if (passages->count >= CREW_PASSAGES_MAX || length == 0)
		return 0;
	if (passages->count == passages->capacity) {
		size_t capacity = passages->capacity ? passages->capacity * 2 : 16;
		struct crew_passage *grown = realloc(passages->items, capacity * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		passages->items = grown;
		passages->capacity = capacity;
	}
	char *copy = strndup(text, length);
	if (!copy)
		return -ENOMEM;
	passages->items[passages->count++] = (struct crew_passage){ .text = copy, .head = head };
	return 0;
}

void wl_crew_passages_release(struct crew_passages *passages)
{
	for (size_t i = 0; i < passages->count; i++) {
		free(passages->items[i].text);
		free(passages->items[i].vector);
	}
	free(passages->items);
	*passages = (struct crew_passages){ 0 };
}

/* Where to cut at or before `at`: after white space when there is some near, else between characters. */
static size_t good_cut(const char *text, size_t from, size_t at)
{
	for (size_t cut = at; cut > from && cut + 100 > at; cut--) {
		if (isspace((unsigned char)text[cut - 1]))
			return cut;
	}
	while (at > from && ((unsigned char)text[at] & 0xc0) == 0x80)
		at--;
	return at;
}

int wl_crew_passages_cut(struct crew_passages *passages, const char *text, int heads)
{
	size_t length = strlen(text);
	int result = 0;
	for (size_t from = 0; result == 0 && from < length;) {
		size_t to =
			from + CREW_PASSAGE_BYTES < length ? good_cut(text, from, from + CREW_PASSAGE_BYTES) : length;
		result = wl_crew_passages_add(passages, text + from, to - from, heads-- > 0);
		if (to == length)
			break;
		from = good_cut(text, from + 1, to - CREW_PASSAGE_OVERLAP);
	}
	return result;
}

/* ---- names ----------------------------------------------------------------------------------------------- */

static bool sentence_end(char c)
{
	return c == '.' || c == '!' || c == '?' || c == '\n';
}

static size_t word_length(const char *text)
{
	size_t length = 0;
	while (isalnum((unsigned char)text[length]) || (unsigned char)text[length] >= 0x80 || text[length] == '-')
		length++;
	return length;
}

/* Words with a capital letter one after the other: their bytes, 0 when there is none here. */
static size_t name_length(const char *text, int *ret_words)
{
	size_t length = 0;
	*ret_words = 0;
	while (isupper((unsigned char)text[length])) {
		length += word_length(text + length);
		(*ret_words)++;
		if (text[length] != ' ' || !isupper((unsigned char)text[length + 1]))
			break;
		length++;
	}
	return length;
}

static int add_name(struct crew_passages *passages, const char *name, size_t length, const char *sentence)
{
	_wl_buffer_ struct wl_buffer text = { 0 };
	size_t end = 0;
	while (sentence[end] && end < SENTENCE_MAX &&
	       (end < (size_t)(name - sentence) + length || !sentence_end(sentence[end])))
		end++;
	while (end > 0 && ((unsigned char)sentence[end] & 0xc0) == 0x80)
		end--;
	(void)wl_buffer_appendf(&text, "%.*s: %.*s", (int)length, name, (int)end, sentence);
	return text.failed ? -ENOMEM : wl_crew_passages_add(passages, text.data, text.length, false);
}

static bool known_name(const struct crew_passages *passages, size_t from, const char *name, size_t length)
{
	for (size_t i = from; i < passages->count; i++) {
		if (strncmp(passages->items[i].text, name, length) == 0 && passages->items[i].text[length] == ':')
			return true;
	}
	return false;
}

int wl_crew_passages_names(struct crew_passages *passages, const char *text)
{
	size_t before = passages->count;
	const char *sentence = text;
	bool first = true; /* the first word of a sentence has a capital anyway */
	while (*text && passages->count < before + NAMES_MAX) {
		int words;
		size_t length = name_length(text, &words);
		if (length > 0 && length < 100 && (words > 1 || (!first && length > 1)) &&
		    !known_name(passages, before, text, length) && add_name(passages, text, length, sentence) < 0)
			return -ENOMEM;
		if (length == 0)
			length = word_length(text);
		if (length > 0) {
			first = false;
			text += length;
			continue;
		}
		if (sentence_end(*text)) {
			first = true;
			sentence = text + 1 + strspn(text + 1, " \n\r\t");
		}
		text++;
	}
	return 0;
}

/* ---- the nearest ----------------------------------------------------------------------------------------- */

static double closeness(const float *a, const float *b, size_t dimensions)
{
	double sum = 0;
	for (size_t i = 0; i < dimensions; i++)
		sum += (double)a[i] * (double)b[i];
	return sum;
}

size_t wl_crew_passages_nearest(const struct crew_passages *passages, size_t count, const float *vector,
				size_t dimensions, size_t most, size_t *ret_indices)
{
	double scores[64];
	size_t found = 0;
	if (most > WL_COUNT_OF(scores))
		most = WL_COUNT_OF(scores);
	if (!vector || passages->dimensions != dimensions || most == 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		if (!passages->items[i].vector)
			continue;
		double score = closeness(passages->items[i].vector, vector, dimensions);
		size_t place = found < most ? found : most;
		while (place > 0 && scores[place - 1] < score)
			place--;
		if (place >= most)
			continue;
		if (found < most)
			found++;
		for (size_t j = found - 1; j > place; j--) {
			scores[j] = scores[j - 1];
			ret_indices[j] = ret_indices[j - 1];
		}
		scores[place] = score;
		ret_indices[place] = i;
	}
	return found;
}
