/*
 * The one C++ file: valijson over rapidjson values behind lib/codec/json_schema.h. Exceptions end here; a schema that
 * is wrong becomes -EINVAL. valijson reports a fault at its place and again at every level above it, so only the
 * innermost ones are told, in our words.
 *
 * Patterns go through std::regex, which recurses by the length of its input: a schema of ours has patterns only beside
 * a maxLength, and schemas of tenants are used in processes that may die.
 */
extern "C" {
#include "lib/base/error.h"
#include "lib/model/flow_graph.h"
}
#include "lib/codec/json_schema.h"

#include <cerrno>
#include <new>
#include <regex>
#include <stdexcept>
#include <string>
#include <vector>

#include <valijson/adapters/rapidjson_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

struct wl_json_schema {
	rapidjson::Document document;
	valijson::Schema schema;
};

namespace
{

constexpr int depth_max = 64;
/* iterative: the parser's own recursion cannot run out of stack */
constexpr unsigned parse_flags =
	rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag | rapidjson::kParseFullPrecisionFlag;

using Value = rapidjson::Value;
using Errors = std::vector<valijson::ValidationResults::Error>;

bool too_deep(const Value &value, int left)
{
	if (left == 0)
		return value.IsObject() || value.IsArray();
	if (value.IsObject()) {
		for (const auto &member : value.GetObject())
			if (too_deep(member.value, left - 1))
				return true;
	} else if (value.IsArray()) {
		for (const auto &item : value.GetArray())
			if (too_deep(item, left - 1))
				return true;
	}
	return false;
}

int parse(const char *json, size_t length, const char *what, rapidjson::Document &document, struct wl_error *err)
{
	document.Parse<parse_flags>(json, length);
	if (document.HasParseError())
		return wl_fail(err, EINVAL, "%s is not JSON: fault at byte %zu", what, document.GetErrorOffset());
	if (too_deep(document, depth_max))
		return wl_fail(err, EINVAL, "%s is nested more than %d deep", what, depth_max);
	return 0;
}

bool starts_with(const std::string &text, const char *prefix)
{
	return text.compare(0, std::char_traits<char>::length(prefix), prefix) == 0;
}

const Value *member_of(const Value *object, const char *name)
{
	if (!object || !object->IsObject())
		return nullptr;
	auto found = object->FindMember(name);
	return found == object->MemberEnd() ? nullptr : &found->value;
}

/* Where a fault is: its path in words of our own, and the part of the schema that speaks of that place when it can be
 * found without following references. */
struct place {
	std::string path;
	const Value *rules;
};

place find_place(const std::vector<std::string> &context, const Value &schema, const Value &instance,
		 const char *prefix)
{
	place found{ prefix, &schema };
	const Value *value = &instance;
	for (size_t i = 1; i < context.size(); i++) {
		const std::string name = context[i].substr(1, context[i].size() - 2);
		if (value && value->IsArray()) {
			found.path += "[" + name + "]";
			size_t index = std::stoul(name);
			value = index < value->Size() ? &(*value)[static_cast<rapidjson::SizeType>(index)] : nullptr;
			found.rules = member_of(found.rules, "items");
			continue;
		}
		found.path += (found.path.empty() ? "" : ".") + name;
		value = member_of(value, name.c_str());
		const Value *named = member_of(member_of(found.rules, "properties"), name.c_str());
		found.rules = named ? named : member_of(found.rules, "additionalProperties");
	}
	return found;
}

/* "a", "b" or "c" of an array of strings; empty when it holds anything else. */
std::string alternatives(const Value *list)
{
	std::string text;
	if (!list || !list->IsArray())
		return text;
	for (rapidjson::SizeType i = 0; i < list->Size(); i++) {
		if (!(*list)[i].IsString())
			return "";
		text += i == 0 ? "" : i + 1 == list->Size() ? " or " : ", ";
		text += (*list)[i].GetString();
	}
	return text;
}

std::string type_sentence(const Value *rules)
{
	const Value *type = member_of(rules, "type");
	std::string names = type && type->IsString() ? type->GetString() : alternatives(type);
	return names.empty() ? "this type of value is not allowed here" : "the value must be of type " + names;
}

std::string enum_sentence(const Value *rules)
{
	std::string names = alternatives(member_of(rules, "enum"));
	return names.empty() ? "this is none of the allowed values" : "the value must be one of " + names;
}

/* std::to_string writes 1.000000 */
std::string without_zeros(std::string text)
{
	size_t dot = text.rfind('.');
	if (dot == std::string::npos || text.find_last_not_of("0123456789", text.size()) > dot)
		return text;
	text.erase(text.find_last_not_of('0') + 1);
	if (text.back() == '.')
		text.pop_back();
	return text;
}

std::string quoted_part(const std::string &text)
{
	size_t from = text.find('\''), to = text.rfind('\'');
	return from == std::string::npos || to <= from ? "" : text.substr(from + 1, to - from - 1);
}

/* The field that nothing allows, from the sentence about it; its name may hold quotes and colons of its own. */
std::string unknown_field(const std::string &description)
{
	static const std::string before = "constraints: ";
	size_t at = description.find(before);
	return at == std::string::npos ? "" : quoted_part(description.substr(at + before.size()));
}

std::string sentence_of(const std::string &description, const Value *rules)
{
	if (starts_with(description, "Value type not permitted"))
		return type_sentence(rules);
	if (starts_with(description, "Failed to match against any enum"))
		return enum_sentence(rules);
	if (starts_with(description, "Object contains a property"))
		return "there is no field '" + unknown_field(description) + "' here";
	if (starts_with(description, "Missing required property"))
		return "the field '" + quoted_part(description) + "' is missing";
	if (starts_with(description, "Failed to match regex"))
		return "the text does not have the required form";
	if (starts_with(description, "Failed to validate against any child schemas"))
		return "the value has none of the allowed forms";
	if (starts_with(description, "Failed to validate against exactly one"))
		return "the value has more than one of the allowed forms";
	return without_zeros(description);
}

/* Faults that only say that something inside is wrong. */
bool repeats_inner(const std::string &description)
{
	static const char *const outer[] = {
		"Failed to validate against schema associated",
		"Failed to validate item #",
		"Failed to validate against additional properties schema",
		"Failed to validate against child schema #",
	};
	for (const char *prefix : outer)
		if (starts_with(description, prefix))
			return true;
	return false;
}

/* Drop what led to the refusal of one form of several: the sentence about all of them follows. */
void drop_tries(Errors &kept, const std::vector<std::string> &context)
{
	while (!kept.empty() && kept.back().context.size() >= context.size() &&
	       !starts_with(kept.back().description, "Failed to validate against any child"))
		kept.pop_back();
}

Errors innermost(valijson::ValidationResults &results)
{
	Errors kept;
	valijson::ValidationResults::Error error;
	while (results.popError(error)) {
		if (starts_with(error.description, "Failed to validate against child schema #"))
			drop_tries(kept, error.context);
		else if (!repeats_inner(error.description))
			kept.push_back(error);
	}
	if (kept.empty())
		kept.push_back({ { "<root>" }, "the value does not fit the schema" });
	return kept;
}

int check(const wl_json_schema &schema, const char *json, size_t length, const char *prefix, wl_flow_faults *faults,
	  struct wl_error *err)
{
	rapidjson::Document instance;
	int result = parse(json, length, "the value", instance, err);
	if (result < 0)
		return result;
	valijson::Validator validator;
	valijson::ValidationResults results;
	if (validator.validate(schema.schema, valijson::adapters::RapidJsonAdapter(instance), &results))
		return 0;
	Errors errors = innermost(results);
	for (const auto &error : errors) {
		place found = find_place(error.context, schema.document, instance, prefix);
		if (starts_with(error.description, "Object contains a property"))
			found.path += (found.path.empty() ? "" : ".") + unknown_field(error.description);
		wl_flow_fault_add(faults, found.path.c_str(), "%s",
				  sentence_of(error.description, found.rules).c_str());
	}
	return static_cast<int>(errors.size());
}

/*
 * Compile the patterns once, for valijson would do so only when a value meets them. What stands in values (enum, const,
 * default, examples) is no pattern. Throws std::regex_error.
 */
void try_patterns(const Value &schema, const char *member, std::string &pattern)
{
	static const char *const values[] = { "enum", "const", "default", "examples" };
	for (const char *name : values)
		if (std::string(member) == name)
			return;
	if (schema.IsArray())
		for (const auto &item : schema.GetArray())
			try_patterns(item, "", pattern);
	if (!schema.IsObject())
		return;
	for (const auto &one : schema.GetObject()) {
		const std::string name = one.name.GetString();
		const bool is_pattern = name == "pattern" && one.value.IsString();
		if (is_pattern || std::string(member) == "patternProperties") {
			pattern = is_pattern ? one.value.GetString() : name;
			(void)std::regex(pattern, std::regex::ECMAScript);
		}
		try_patterns(one.value, std::string(member) == "properties" ? "" : name.c_str(), pattern);
	}
}

void check_patterns(const Value &schema)
{
	std::string pattern;
	try {
		try_patterns(schema, "", pattern);
	} catch (const std::regex_error &) {
		throw std::runtime_error("the pattern '" + pattern.substr(0, 100) + "' is none");
	}
}

} // namespace

int wl_json_schema_compile(const char *schema_json, size_t length, struct wl_json_schema **ret_schema,
			   struct wl_error *err)
{
	try {
		auto *schema = new wl_json_schema;
		int result = parse(schema_json, length, "the schema", schema->document, err);
		if (result == 0 && !schema->document.IsObject() && !schema->document.IsBool())
			result = wl_fail(err, EINVAL, "a schema must be an object or a boolean");
		try {
			valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);
			if (result == 0) {
				parser.populateSchema(valijson::adapters::RapidJsonAdapter(schema->document),
						      schema->schema);
				check_patterns(schema->document);
			}
		} catch (const std::bad_alloc &) {
			result = wl_fail(err, ENOMEM, "out of memory while compiling a schema");
		} catch (const std::exception &fault) {
			result = wl_fail(err, EINVAL, "the schema is wrong: %s", fault.what());
		}
		if (result < 0)
			delete schema;
		else
			*ret_schema = schema;
		return result;
	} catch (const std::exception &) {
		return wl_fail(err, ENOMEM, "out of memory while compiling a schema");
	}
}

void wl_json_schema_free(struct wl_json_schema *schema)
{
	delete schema;
}

int wl_json_schema_check(const struct wl_json_schema *schema, const char *json, size_t length, const char *prefix,
			 struct wl_flow_faults *faults, struct wl_error *err)
{
	try {
		return check(*schema, json, length, prefix, faults, err);
	} catch (const std::bad_alloc &) {
		return wl_fail(err, ENOMEM, "out of memory while checking a value");
	} catch (const std::exception &fault) {
		return wl_fail(err, EINVAL, "the value cannot be checked: %s", fault.what());
	}
}
