#include "lib/crew/passages.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#define NAMES_MAX 16
#define SENTENCE_MAX 300
#define QUERY_WORDS 32
#define FOUND_MAX 64
#define BM25_SATURATION 1.2

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

/* ---- the best -------------------------------------------------------------------------------------------- */

struct best {
	double scores[FOUND_MAX];
	size_t *indices;
	size_t count, most;
};

/* Among equals the first stays first. */
static void take_best(struct best *best, size_t index, double score)
{
	size_t place = best->count;
	while (place > 0 && best->scores[place - 1] < score)
		place--;
	if (place >= best->most)
		return;
	if (best->count < best->most)
		best->count++;
	for (size_t j = best->count - 1; j > place; j--) {
		best->scores[j] = best->scores[j - 1];
		best->indices[j] = best->indices[j - 1];
	}
	best->scores[place] = score;
	best->indices[place] = index;
}

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
	struct best best = { .indices = ret_indices, .most = most < FOUND_MAX ? most : FOUND_MAX };
	if (!vector || passages->dimensions != dimensions || most == 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		if (passages->items[i].vector)
			take_best(&best, i, closeness(passages->items[i].vector, vector, dimensions));
	}
	return best.count;
}

/* ---- words ----------------------------------------------------------------------------------------------- */

struct word {
	const char *text;
	size_t length;
	size_t found_in; /* passages */
};

/* The next word of at least two letters from `text` on; its length is 0 at the end. */
static struct word next_word(const char *text)
{
	for (;;) {
		while (*text && word_length(text) == 0)
			text++;
		size_t length = word_length(text);
		if (length != 1)
			return (struct word){ .text = text, .length = length };
		text++;
	}
}

static bool same_word(const struct word *a, const struct word *b)
{
	return a->length == b->length && strncasecmp(a->text, b->text, a->length) == 0;
}

static size_t words_of(const char *query, struct word words[QUERY_WORDS])
{
	size_t count = 0;
	for (struct word word = next_word(query); word.length > 0 && count < QUERY_WORDS;
	     word = next_word(word.text + word.length)) {
		size_t i = 0;
		while (i < count && !same_word(&words[i], &word))
			i++;
		if (i == count)
			words[count++] = word;
	}
	return count;
}

static void count_words(const char *text, const struct word *words, size_t count, unsigned ret_times[QUERY_WORDS])
{
	memset(ret_times, 0, QUERY_WORDS * sizeof(*ret_times));
	for (struct word word = next_word(text); word.length > 0; word = next_word(word.text + word.length)) {
		for (size_t i = 0; i < count; i++)
			ret_times[i] += same_word(&words[i], &word);
	}
}

size_t wl_crew_passages_matching(const struct crew_passages *passages, const char *query, size_t most,
				 size_t *ret_indices)
{
	struct best best = { .indices = ret_indices, .most = most < FOUND_MAX ? most : FOUND_MAX };
	struct word words[QUERY_WORDS];
	unsigned times[QUERY_WORDS];
	size_t count = words_of(query, words);
	for (size_t i = 0; i < passages->count && count > 0; i++) {
		count_words(passages->items[i].text, words, count, times);
		for (size_t j = 0; j < count; j++)
			words[j].found_in += times[j] > 0;
	}
	for (size_t i = 0; i < passages->count && count > 0; i++) {
		double score = 0, all = (double)passages->count;
		count_words(passages->items[i].text, words, count, times);
		for (size_t j = 0; j < count; j++) {
			double in = (double)words[j].found_in;
			if (times[j] > 0)
				score += log1p((all - in + 0.5) / (in + 0.5)) * times[j] * (BM25_SATURATION + 1) /
					 (times[j] + BM25_SATURATION);
		}
		if (score > 0)
			take_best(&best, i, score);
	}
	return best.count;
}
