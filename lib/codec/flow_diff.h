/* What differs between two flow documents, by meaning. Pure. */
#ifndef WL_CODEC_FLOW_DIFF_H
#define WL_CODEC_FLOW_DIFF_H

#include "lib/codec/json.h"

/*
 * Append the members of an object, without its braces: "nodes" {added, removed, changed [{id, fields [{path, from,
 * to}]}]}, "edges" {added, removed}, "moved" [ids], "input_schema_changed", "output_schema_changed".
 *
 * Nodes are told apart by their ids; a changed one is listed with each field that differs, such as data.source or
 * data.cases[1].when, and null for what is not there. A node of which only place or size differ was moved; what an
 * editor keeps for its own display (selected, measured, ...) is no difference. Edges are told apart by the ends and
 * handles that they join: another id is no difference. Both documents must be checked ones. 0, -ENOMEM or -EMSGSIZE.
 */
int wl_flow_diff(const struct wl_json *before, const struct wl_json *after, struct wl_buffer *buffer,
		 struct wl_error *err);

#endif
