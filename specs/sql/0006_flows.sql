-- Flows as people handle them, and lists of executions.
SET LOCAL ROLE windlass_owner;

-- ---- tables ---------------------------------------------------------------------------------------------------
-- A flow is everybody's of its tenant by role, or private: then only its owner (who made it), admins, and those it
-- is shared with know of it. Nobody may more than his role allows.
-- No index on executions covers what its end changes (status above all), so that an end stays a heap-only update:
-- lists by status find what is in flight through the ledger, and ended ones by walking down created_at.

CREATE FUNCTION control.tenant_ddl_0006_flows(p_schema text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format($ddl$
		ALTER TABLE %1$I.flows ADD COLUMN visibility text NOT NULL DEFAULT 'tenant'
			CHECK (visibility IN ('tenant', 'private'));
		CREATE TABLE %1$I.flow_shares (
			flow_id uuid NOT NULL REFERENCES %1$I.flows ON DELETE CASCADE,
			user_id uuid NOT NULL,
			access  text NOT NULL CHECK (access IN ('view', 'run', 'edit')),
			PRIMARY KEY (flow_id, user_id)
		);
		GRANT SELECT, INSERT, UPDATE, DELETE ON %1$I.flow_shares TO %1$I;
		GRANT UPDATE (labels) ON %1$I.executions TO %1$I;
		ALTER TABLE %1$I.flow_docs ADD COLUMN unused_since timestamptz;
		GRANT UPDATE (unused_since) ON %1$I.flow_docs TO %1$I;
		CREATE INDEX ON %1$I.executions USING gin (labels jsonb_path_ops) WHERE labels <> '{}';
		CREATE INDEX ON %1$I.executions (source_id, created_at DESC, id DESC) WHERE source_id IS NOT NULL;
	$ddl$, p_schema);
END $$;
SELECT control.tenant_ddl_everywhere('tenant_ddl_0006_flows');

-- ---- who may do what with a flow --------------------------------------------------------------------------------

-- What an actor may do with a flow of these properties, 0 nothing .. 4 own. p_share: his row of flow_shares.
CREATE FUNCTION api.access_level(p_user uuid, p_role text, p_visibility text, p_owner uuid, p_share text) RETURNS int
LANGUAGE sql IMMUTABLE AS $$
	SELECT least(
		CASE p_role WHEN 'admin' THEN 4 WHEN 'editor' THEN 4 WHEN 'executor' THEN 2 WHEN 'viewer' THEN 1 ELSE 0 END,
		CASE WHEN p_role = 'admin' OR p_owner = p_user THEN 4 WHEN p_visibility = 'tenant' THEN 3
		     ELSE CASE p_share WHEN 'edit' THEN 3 WHEN 'run' THEN 2 WHEN 'view' THEN 1 ELSE 0 END END)
$$;

CREATE FUNCTION api.access_number(p_access text) RETURNS int
LANGUAGE sql IMMUTABLE AS $$ SELECT array_position(ARRAY['none', 'view', 'run', 'edit', 'own'], p_access) - 1 $$;

-- none, view, run, edit or own; deleted flows count as they did before, flows that never were are none.
CREATE FUNCTION api.flow_access(p_actor json, p_flow uuid) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_user  uuid := (p_actor->>'user')::uuid;
	v_level int;
BEGIN
	SELECT api.access_level(v_user, p_actor->>'role', f.visibility, f.created_by,
	                        CASE WHEN f.visibility = 'private' THEN (SELECT s.access FROM flow_shares s
	                             WHERE s.flow_id = f.id AND s.user_id = v_user) END)
	INTO v_level FROM flows f WHERE f.id = p_flow;
	RETURN (ARRAY['none', 'view', 'run', 'edit', 'own'])[1 + coalesce(v_level, 0)];
END $$;

CREATE FUNCTION api.check_access(p_has text, p_needs text, p_what text) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF p_has = 'none' THEN
		RAISE EXCEPTION 'there is no such %', p_what USING ERRCODE = 'WL404';
	ELSIF api.access_number(p_has) < api.access_number(p_needs) THEN
		RAISE EXCEPTION 'this takes the access "%" to the flow', p_needs USING ERRCODE = 'WL403';
	END IF;
END $$;

-- Demand view, run, edit or own of a flow that is not deleted: else WL404, and WL403 for who may see it only.
CREATE FUNCTION api.need_flow(p_actor json, p_flow uuid, p_access text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
	PERFORM FROM flows f WHERE f.id = p_flow AND f.deleted_at IS NULL;
	PERFORM api.check_access(CASE WHEN FOUND THEN api.flow_access(p_actor, p_flow) ELSE 'none' END, p_access, 'flow');
END $$;

-- The same for an execution, by its flow, which may be deleted. One of no flow (the trial of a tool) is everybody's
-- by role: edit.
CREATE FUNCTION api.execution_access(p_actor json, p_eid uuid) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_flow  uuid;
	v_known boolean;
BEGIN
	SELECT e.flow_id, f.id IS NOT NULL INTO v_flow, v_known
	FROM executions e LEFT JOIN flows f ON f.id = e.flow_id WHERE e.id = p_eid;
	RETURN CASE WHEN v_flow IS NULL THEN 'none' WHEN v_known THEN api.flow_access(p_actor, v_flow) ELSE 'edit' END;
END $$;

CREATE FUNCTION api.need_execution(p_actor json, p_eid uuid, p_access text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
	PERFORM api.check_access(api.execution_access(p_actor, p_eid), p_access, 'execution');
END $$;

-- ---- small helpers ------------------------------------------------------------------------------------------------

-- A UUIDv7 (RFC 9562 §5.7): milliseconds since 1970, the rest random.
CREATE FUNCTION api.uuid7() RETURNS uuid
LANGUAGE sql VOLATILE AS $$
	SELECT encode(set_byte(raw, 6, (get_byte(raw, 6) & 15) | 112), 'hex')::uuid
	FROM (SELECT overlay(uuid_send(gen_random_uuid()) PLACING
	      substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6) AS raw) r
$$;

-- The text of a JSON object with that of another behind its members: long documents are not taken apart for it. Both
-- texts begin with their first brace and end with their last, as all that we write.
CREATE FUNCTION api.json_with(p_object json, p_more json) RETURNS json
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN p_more IS NULL OR p_more::text = '{}' THEN p_object
	       ELSE (left(p_object::text, -1) || ',' || substr(p_more::text, 2))::json END
$$;

-- A row of flows as the API shows it.
CREATE FUNCTION api.flow_summary(p_row record) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN json_build_object('id', p_row.id, 'name', p_row.name, 'description', p_row.description, 'status', p_row.status,
		'rev', p_row.rev, 'version', p_row.published, 'created_by', p_row.created_by,
		'created_at', api.time(p_row.created_at), 'updated_at', api.time(p_row.updated_at));
END $$;

-- With p_doc when it is at hand: each statement that is not made counts, see docs/decisions/0010.
CREATE FUNCTION api.flow_answer(p_status int, p_row record, p_doc json DEFAULT NULL) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_doc json := p_doc;
BEGIN
	IF v_doc IS NULL THEN
		SELECT d.doc INTO v_doc FROM flow_docs d WHERE d.hash = p_row.draft_hash;
	END IF;
	RETURN (p_status, json_build_object('flow', api.json_with(api.flow_summary(p_row), v_doc)), p_row.rev::text,
	        CASE WHEN p_status = 201 THEN '/api/v1/flows/' || p_row.id END, NULL)::api.answer;
END $$;

CREATE FUNCTION api.version_json(p_row record) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN json_build_object('version', p_row.version, 'name', p_row.name, 'note', p_row.note,
		'created_by', p_row.created_by, 'created_at', api.time(p_row.created_at));
END $$;

-- A flow for a change: its row is held until the end of the transaction.
CREATE FUNCTION api.flow_hold(p_actor json, p_flow uuid, p_access text) RETURNS record
LANGUAGE plpgsql AS $$
DECLARE
	v_flow record;
BEGIN
	SELECT * INTO v_flow FROM flows f WHERE f.id = p_flow AND f.deleted_at IS NULL FOR UPDATE;
	PERFORM api.check_access(CASE WHEN FOUND THEN api.flow_access(p_actor, p_flow) ELSE 'none' END, p_access, 'flow');
	RETURN v_flow;
END $$;

-- Whoever puts a document that is there already holds it, so that it is not dropped (control.flows_tidy, 0009) before it is
-- named by what is committed with it.
CREATE FUNCTION api.flow_put_document(p_hash text, p_doc json) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO flow_docs (hash, doc) VALUES (decode(p_hash, 'hex'), p_doc) ON CONFLICT (hash)
	DO UPDATE SET unused_since = NULL WHERE flow_docs.unused_since IS NOT NULL;
END $$;

-- ---- making, changing, deleting -------------------------------------------------------------------------------------

-- Make a flow with a stored document, as its owner.
CREATE FUNCTION api.flow_make(p_actor json, p_action text, p_name text, p_description text, p_hash bytea, p_doc json,
                              p_visibility text, p_from json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_flow record;
BEGIN
	INSERT INTO flows AS f (id, name, description, draft_hash, created_by, visibility)
	VALUES (api.uuid7(), p_name, coalesce(p_description, ''), p_hash, (p_actor->>'user')::uuid, p_visibility)
	RETURNING * INTO v_flow;
	IF api.may_use(p_doc) THEN
		PERFORM api.flow_uses(v_flow.id, false);
	END IF;
	PERFORM control.audit(p_actor, p_action, 'flow', v_flow.id::text,
	                      api.json_with(json_build_object('name', p_name), p_from));
	RETURN api.flow_answer(201, v_flow, p_doc);
END $$;

-- The document of p_request (hash in hex, document: checked and in its canonical text) becomes a flow. The request is
-- taken apart once: it may be long, and each look into it reads it all.
CREATE FUNCTION api.flow_from_document(p_actor json, p_action text, p_request json, p_templates boolean)
RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v record;
BEGIN
	SELECT * INTO v FROM json_to_record(p_request) AS r(hash text, document json, body json, params json);
	PERFORM control.flow_slot();
	PERFORM api.flow_put_document(v.hash, v.document);
	RETURN api.flow_make(p_actor, p_action, v.body->>'name', v.body->>'description', decode(v.hash, 'hex'), v.document,
	                     'tenant', CASE WHEN p_templates THEN json_build_object('template', v.params->>'name') END);
END $$;

CREATE FUNCTION api.flows_create(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql AS $$ SELECT api.flow_from_document(p_actor, 'flow.create', p_request, false) $$;

CREATE FUNCTION api.flows_import(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql AS $$ SELECT api.flow_from_document(p_actor, 'flow.import', p_request, false) $$;

CREATE FUNCTION api.templates_use(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql AS $$ SELECT api.flow_from_document(p_actor, 'flow.create', p_request, true) $$;

-- What a change begins with: the revision and the document that the changed members are put into.
CREATE FUNCTION api.flow_for_update(p_actor json, p_request json) RETURNS TABLE (rev int, doc json)
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_flow record;
BEGIN
	PERFORM api.need_flow(p_actor, (p_request#>>'{params,id}')::uuid, 'edit');
	SELECT f.rev, d.doc INTO v_flow FROM flows f JOIN flow_docs d ON d.hash = f.draft_hash
	WHERE f.id = (p_request#>>'{params,id}')::uuid;
	PERFORM api.check_match(p_request#>>'{params,If-Match}', v_flow.rev, 'flow');
	RETURN QUERY SELECT v_flow.rev, v_flow.doc;
END $$;

-- With hash and document when the document changes, then also rev: the revision that they were made from.
CREATE FUNCTION api.flows_update(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v      record;
	v_id   uuid;
	v_flow record;
BEGIN
	SELECT * INTO v FROM json_to_record(p_request) AS r(hash text, document json, rev int, body json, params json);
	v_id := (v.params->>'id')::uuid;
	v_flow := api.flow_hold(p_actor, v_id, 'edit');
	PERFORM api.check_match(v.params->>'If-Match', v_flow.rev, 'flow');
	IF v_flow.rev <> v.rev THEN
		RAISE EXCEPTION 'the flow was changed at the same time; read it again' USING ERRCODE = 'WL409';
	END IF;
	IF v.document IS NOT NULL THEN
		PERFORM api.flow_put_document(v.hash, v.document);
	END IF;
	UPDATE flows f SET name = coalesce(v.body->>'name', f.name),
		description = coalesce(v.body->>'description', f.description),
		status = CASE WHEN v.body->>'status' IS NULL THEN f.status WHEN v.body->>'status' = 'archived' THEN 'archived'
		              WHEN f.published IS NOT NULL THEN 'published' ELSE 'draft' END,
		draft_hash = coalesce(decode(v.hash, 'hex'), f.draft_hash), rev = f.rev + 1, updated_at = now()
	WHERE f.id = v_id RETURNING * INTO v_flow;
	IF v.hash IS NOT NULL OR v.body->>'status' IS NOT NULL THEN
		PERFORM api.flow_uses(v_id, false);
	END IF;
	IF v.body->>'status' IS NOT NULL THEN
		PERFORM api.flow_uses(v_id, true, true);
	END IF;
	PERFORM control.audit(p_actor, 'flow.update', 'flow', v_id::text, json_build_object('rev', v_flow.rev, 'changed',
		(SELECT json_agg(k) FROM (SELECT json_object_keys(v.body) UNION ALL
		 SELECT 'document' WHERE v.hash IS NOT NULL) c(k))));
	RETURN api.flow_answer(200, v_flow, v.document);
END $$;

CREATE FUNCTION api.flows_delete(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id   uuid := (p_request#>>'{params,id}')::uuid;
	v_flow record := api.flow_hold(p_actor, v_id, 'edit');
BEGIN
	UPDATE flows SET deleted_at = now(), updated_at = now() WHERE id = v_id;
	PERFORM api.flow_uses(v_id, false), api.flow_uses(v_id, true);
	PERFORM control.audit(p_actor, 'flow.delete', 'flow', v_id::text, json_build_object('name', v_flow.name));
	RETURN (204, NULL, NULL, NULL, NULL)::api.answer;
END $$;

-- A flow that comes back needs a place among the tenant's flows again.
CREATE FUNCTION api.flows_restore(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id   uuid := (p_request#>>'{params,id}')::uuid;
	v_flow record;
BEGIN
	SELECT * INTO v_flow FROM flows f WHERE f.id = v_id FOR UPDATE;
	PERFORM api.check_access(api.flow_access(p_actor, v_id), 'edit', 'flow');
	IF v_flow.deleted_at IS NULL THEN
		RAISE EXCEPTION 'the flow is not deleted' USING ERRCODE = 'WL409';
	END IF;
	PERFORM control.flow_slot();
	UPDATE flows SET deleted_at = NULL, rev = rev + 1, updated_at = now() WHERE id = v_id RETURNING * INTO v_flow;
	PERFORM api.flow_uses(v_id, false), api.flow_uses(v_id, true, true);
	PERFORM control.audit(p_actor, 'flow.restore', 'flow', v_id::text, json_build_object('name', v_flow.name));
	RETURN api.flow_answer(200, v_flow);
END $$;

-- The copy of a private flow is private, too: who may read it does not make it everybody's.
CREATE FUNCTION api.flows_duplicate(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id   uuid := (p_request#>>'{params,id}')::uuid;
	v_flow record;
BEGIN
	PERFORM control.flow_slot();
	PERFORM api.need_flow(p_actor, v_id, 'view');
	SELECT f.*, d.doc INTO v_flow FROM flows f JOIN flow_docs d ON d.hash = f.draft_hash WHERE f.id = v_id;
	RETURN api.flow_make(p_actor, 'flow.create',
		coalesce(p_request#>>'{body,name}', left('Copy of ' || v_flow.name, 200)), v_flow.description,
		v_flow.draft_hash, v_flow.doc, v_flow.visibility, json_build_object('copy_of', v_id));
END $$;

-- ---- versions -------------------------------------------------------------------------------------------------------

CREATE FUNCTION api.flows_publish(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id   uuid := (p_request#>>'{params,id}')::uuid;
	v_flow record := api.flow_hold(p_actor, v_id, 'edit');
	v_last record;
BEGIN
	IF v_flow.status = 'archived' THEN
		RAISE EXCEPTION 'an archived flow is not published; set its status to draft first' USING ERRCODE = 'WL409';
	END IF;
	SELECT * INTO v_last FROM flow_versions v WHERE v.flow_id = v_id AND v.version = v_flow.published;
	IF v_last.doc_hash = v_flow.draft_hash THEN
		RETURN (200, json_build_object('version', api.version_json(v_last)), NULL, NULL, NULL)::api.answer;
	END IF;
	PERFORM api.check_named(p_actor, d.doc) FROM flow_docs d WHERE d.hash = v_flow.draft_hash;
	INSERT INTO flow_versions AS v (flow_id, version, doc_hash, name, note, created_by)
	SELECT v_id, coalesce(max(o.version), 0) + 1, v_flow.draft_hash, v_flow.name,
	       coalesce(p_request#>>'{body,note}', ''), (p_actor->>'user')::uuid FROM flow_versions o WHERE o.flow_id = v_id
	RETURNING * INTO v_last;
	UPDATE flows SET published = v_last.version, status = 'published', updated_at = now() WHERE id = v_id;
	PERFORM api.flow_uses(v_id, true);
	PERFORM control.audit(p_actor, 'flow.publish', 'flow', v_id::text, json_build_object('version', v_last.version));
	RETURN (201, json_build_object('version', api.version_json(v_last)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.flow_versions_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_id    uuid := (p_request#>>'{params,id}')::uuid;
	v_page  int := coalesce((p_request#>>'{params,page}')::int, 1);
	v_limit int := coalesce((p_request#>>'{params,limit}')::int, 20);
	v_list  json;
	v_total bigint;
BEGIN
	PERFORM api.need_flow(p_actor, v_id, 'view');
	SELECT count(*) INTO v_total FROM flow_versions WHERE flow_id = v_id;
	SELECT coalesce(json_agg(api.version_json(v) ORDER BY v.version DESC), '[]') INTO v_list
	FROM (SELECT o.version, o.name, o.note, o.created_by, o.created_at FROM flow_versions o WHERE o.flow_id = v_id
	      ORDER BY o.version DESC LIMIT v_limit OFFSET v_limit::bigint * (v_page - 1)) v;
	RETURN (200, json_build_object('versions', v_list, 'total', v_total,
	                               'page_info', api.page_info(v_page, v_limit, v_total)), NULL, NULL, NULL)::api.answer;
END $$;

-- A version of a flow and its document; WL404 when there is none.
CREATE FUNCTION api.flow_version(p_flow uuid, p_version int) RETURNS record
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_row record;
BEGIN
	SELECT v.version, v.name, v.note, v.created_by, v.created_at, v.doc_hash, d.doc INTO v_row
	FROM flow_versions v JOIN flow_docs d ON d.hash = v.doc_hash WHERE v.flow_id = p_flow AND v.version = p_version;
	IF NOT FOUND THEN
		PERFORM api.missing('version');
	END IF;
	RETURN v_row;
END $$;

CREATE FUNCTION api.flow_versions_get(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_row record;
BEGIN
	PERFORM api.need_flow(p_actor, (p_request#>>'{params,id}')::uuid, 'view');
	v_row := api.flow_version((p_request#>>'{params,id}')::uuid, (p_request#>>'{params,version}')::int);
	RETURN (200, json_build_object('version', api.json_with(api.version_json(v_row), v_row.doc)), NULL, NULL,
	        NULL)::api.answer;
END $$;

CREATE FUNCTION api.flow_versions_restore(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id   uuid := (p_request#>>'{params,id}')::uuid;
	v_flow record := api.flow_hold(p_actor, v_id, 'edit');
	v_row  record := api.flow_version(v_id, (p_request#>>'{params,version}')::int);
BEGIN
	UPDATE flows SET draft_hash = v_row.doc_hash, rev = rev + 1, updated_at = now() WHERE id = v_id
	RETURNING * INTO v_flow;
	PERFORM api.flow_uses(v_id, false);
	PERFORM control.audit(p_actor, 'flow.version_restore', 'flow', v_id::text,
	                      json_build_object('version', v_row.version, 'rev', v_flow.rev));
	RETURN api.flow_answer(200, v_flow);
END $$;

-- The document that a word names: draft, or a version's number. NULL: the newest published one, else the draft.
CREATE FUNCTION api.flow_document(p_flow uuid, p_word text, p_path text) RETURNS TABLE (word text, doc json)
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_flow record;
	v_row  record;
BEGIN
	SELECT f.published, d.doc INTO v_flow FROM flows f JOIN flow_docs d ON d.hash = f.draft_hash WHERE f.id = p_flow;
	IF coalesce(p_word, v_flow.published::text, 'draft') = 'draft' THEN
		RETURN QUERY SELECT 'draft', v_flow.doc;
		RETURN;
	END IF;
	IF p_word !~ '^[1-9][0-9]{0,8}$' THEN
		PERFORM api.missing('version');
	END IF;
	v_row := api.flow_version(p_flow, coalesce(p_word::int, v_flow.published));
	RETURN QUERY SELECT v_row.version::text, v_row.doc;
END $$;

-- The two documents; the server finds what differs.
CREATE FUNCTION api.flows_diff(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_id   uuid := (p_request#>>'{params,id}')::uuid;
	v_from record;
	v_to   record;
BEGIN
	PERFORM api.need_flow(p_actor, v_id, 'view');
	SELECT * INTO v_from FROM api.flow_document(v_id, p_request#>>'{params,from}', 'from');
	SELECT * INTO v_to FROM api.flow_document(v_id, coalesce(p_request#>>'{params,to}', 'draft'), 'to');
	RETURN (200, json_build_object('from', v_from.word, 'to', v_to.word, 'before', v_from.doc, 'after', v_to.doc),
	        NULL, NULL, NULL)::api.answer;
END $$;

-- Name, description and document; the server writes the file. For CrewAI's format also what the document names.
CREATE FUNCTION api.flows_export(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_id   uuid := (p_request#>>'{params,id}')::uuid;
	v_flow record;
	v_doc  record;
BEGIN
	PERFORM api.need_flow(p_actor, v_id, 'view');
	SELECT f.name, f.description INTO v_flow FROM flows f WHERE f.id = v_id;
	SELECT * INTO v_doc FROM api.flow_document(v_id, coalesce(p_request#>>'{params,version}', 'draft'), 'version');
	RETURN (200, api.members(json_build_object('name', v_flow.name, 'description', v_flow.description, 'document',
	        v_doc.doc), CASE WHEN p_request#>>'{params,format}' = 'crewai' THEN api.crewai_flow_bundle(v_doc.doc) END),
	        NULL, NULL, NULL)::api.answer;
END $$;

-- ---- sharing ----------------------------------------------------------------------------------------------------------

-- Those of the ids that are people of this transaction's tenant.
CREATE FUNCTION control.people_known(p_ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT u.id FROM control.app_user u WHERE u.id = ANY (p_ids) AND u.tenant = control.tenant_of_role()
$$;

CREATE FUNCTION api.sharing_json(p_actor json, p_flow uuid) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT json_build_object('sharing', json_build_object('owner', f.created_by, 'visibility', f.visibility,
		'shares', (SELECT coalesce(json_agg(json_build_object('user_id', s.user_id, 'access', s.access) ORDER BY s.user_id),
		           '[]') FROM flow_shares s WHERE s.flow_id = f.id),
		'your_access', api.flow_access(p_actor, f.id))) FROM flows f WHERE f.id = p_flow);
END $$;

CREATE FUNCTION api.flow_sharing_get(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
BEGIN
	PERFORM api.need_flow(p_actor, (p_request#>>'{params,id}')::uuid, 'view');
	RETURN (200, api.sharing_json(p_actor, (p_request#>>'{params,id}')::uuid), NULL, NULL, NULL)::api.answer;
END $$;

-- Faults of a list of shares: people that the tenant does not have, or that stand twice.
CREATE FUNCTION api.check_shares(p_shares json) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_faults jsonb;
BEGIN
	SELECT jsonb_agg(jsonb_build_object('path', format('shares[%s].user_id', s.n - 1), 'message', CASE
		WHEN s.nth > 1 THEN 'this user stands in the list twice' ELSE 'the tenant has no such user' END) ORDER BY s.n)
	INTO v_faults
	FROM (SELECT n, (x->>'user_id')::uuid AS id, row_number() OVER (PARTITION BY (x->>'user_id')::uuid ORDER BY n) AS nth
	      FROM json_array_elements(p_shares) WITH ORDINALITY AS e(x, n)) s
	WHERE s.nth > 1 OR s.id NOT IN (SELECT control.people_known(
		(SELECT array_agg((y->>'user_id')::uuid) FROM json_array_elements(p_shares) y)));
	IF v_faults IS NOT NULL THEN
		PERFORM api.refuse_many('WL422', 'the flow cannot be shared like this', v_faults);
	END IF;
END $$;

CREATE FUNCTION api.flow_sharing_update(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id     uuid := (p_request#>>'{params,id}')::uuid;
	v_shares json := p_request#>'{body,shares}';
	v_flow   record := api.flow_hold(p_actor, v_id, 'own');
BEGIN
	UPDATE flows SET visibility = coalesce(p_request#>>'{body,visibility}', visibility) WHERE id = v_id;
	IF v_shares IS NOT NULL THEN
		PERFORM api.check_shares(v_shares);
		DELETE FROM flow_shares WHERE flow_id = v_id;
		INSERT INTO flow_shares (flow_id, user_id, access)
		SELECT v_id, (s->>'user_id')::uuid, s->>'access' FROM json_array_elements(v_shares) s;
	END IF;
	PERFORM control.audit(p_actor, 'flow.share', 'flow', v_id::text, p_request->'body');
	RETURN (200, api.sharing_json(p_actor, v_id), NULL, NULL, NULL)::api.answer;
END $$;

-- ---- what a flow uses ---------------------------------------------------------------------------------------------------

-- The ids that a document names, as [{"type","id","path"}].
CREATE FUNCTION api.document_uses(p_doc json) RETURNS json
LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(json_agg(json_build_object('type', m.type, 'id', n.node->'data' #>> string_to_array(m.field, '.'),
	                         'path', format('nodes[%s].data.%s', n.place - 1, m.field)) ORDER BY n.place), '[]')
	FROM json_array_elements(p_doc->'nodes') WITH ORDINALITY AS n(node, place)
	JOIN (VALUES ('tool', 'tool', 'tool_id'), ('agent', 'agent', 'agent_id'), ('crew', 'crew', 'crew_id'),
	             ('subflow', 'flow', 'flow_id'), ('llm', 'llm_provider', 'provider_id'),
	             ('code', 'llm_provider', 'models.provider_id')) AS m(kind, type, field)
	  ON m.kind = n.node->>'type'
	WHERE n.node->'data' #>> string_to_array(m.field, '.') ~ '^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$'
$$;

-- Whether a document may name anything at all: a quick look before the thorough one.
CREATE FUNCTION api.may_use(p_doc json) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT position('_id"' IN p_doc::text) > 0 $$;

-- Refuse a document that names what is archived, or flows that are not there or not his to run. (What else is not
-- there is refused by uses_set.)
CREATE FUNCTION api.check_named(p_actor json, p_doc json) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_faults jsonb;
BEGIN
	SELECT jsonb_agg(jsonb_build_object('path', u->>'path', 'message', CASE WHEN f.status = 'archived'
		OR r.state = 'archived' THEN 'names what is archived' WHEN u->>'type' = 'crew' THEN 'names a crew without tasks'
		ELSE 'names no flow of this tenant' END)) INTO v_faults
	FROM json_array_elements(api.document_uses(p_doc)) u
	LEFT JOIN flows f ON u->>'type' = 'flow' AND f.id = (u->>'id')::uuid AND f.deleted_at IS NULL
	     AND api.access_number(api.flow_access(p_actor, f.id)) > 1
	LEFT JOIN resources r ON r.kind = u->>'type' AND r.id = (u->>'id')::uuid AND r.deleted_at IS NULL
	WHERE r.state = 'archived' OR (u->>'type' = 'flow' AND coalesce(f.status = 'archived', true))
	   OR (u->>'type' = 'crew' AND api.crew_is_empty(r.id));
	IF v_faults IS NOT NULL THEN
		PERFORM api.refuse_many('WL422', 'what it names is not there', v_faults);
	END IF;
END $$;

-- Tell what the draft, or the published version, of a flow uses. A deleted or archived flow uses nothing. WL422 when
-- what is published names what is not there; but with p_comes_back it is left out: a flow that was away is not lost
-- for what went meanwhile.
CREATE FUNCTION api.flow_uses(p_flow uuid, p_published boolean, p_comes_back boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_uses json;
	v_doc  json;
BEGIN
	SELECT d.doc INTO v_doc FROM flows f LEFT JOIN flow_versions v ON v.flow_id = f.id AND v.version = f.published
	JOIN flow_docs d ON d.hash = CASE WHEN p_published THEN v.doc_hash ELSE f.draft_hash END
	WHERE f.id = p_flow AND f.deleted_at IS NULL AND f.status <> 'archived';
	IF api.may_use(v_doc) IS NOT TRUE AND NOT EXISTS (SELECT FROM resource_uses u WHERE u.user_type = 'flow'
	   AND u.user_id = p_flow AND u.published = p_published) THEN
		RETURN;
	END IF;
	SELECT json_agg(u) INTO v_uses FROM json_array_elements(api.document_uses(v_doc)) u
	WHERE u->>'type' <> 'flow' AND (NOT p_comes_back OR EXISTS (SELECT FROM resources r
	      WHERE r.kind = u->>'type' AND r.id = (u->>'id')::uuid AND r.deleted_at IS NULL));
	PERFORM api.uses_set('flow', p_flow, p_published, v_uses);
END $$;

-- ---- accept: who may run a private flow ------------------------------------------------------------------------------

-- An item with a role asks for the person user_id with that role; one without was allowed by whoever made it.
ALTER TYPE control.accept_item ADD ATTRIBUTE role text;

-- Which document an execution of a flow runs, or why none. With p_role: no_flow for who may not see the flow, no_access for
-- who may not run it (or, with p_edits, not change it).
CREATE FUNCTION control.flow_pick(p_tenant int, p_flow uuid, p_version text, p_may_draft boolean, p_user uuid,
                                  p_role text, p_edits boolean, OUT outcome text, OUT doc_hash bytea, OUT version int)
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_flow  record;
	v_share text;
	v_level int := 4;
BEGIN
	EXECUTE format('SELECT draft_hash, published, status, visibility, created_by FROM t_%s.flows
	                WHERE id = $1 AND deleted_at IS NULL', p_tenant) INTO v_flow USING p_flow;
	IF v_flow.visibility = 'private' AND p_role IS NOT NULL THEN
		EXECUTE format('SELECT access FROM t_%s.flow_shares WHERE flow_id = $1 AND user_id = $2', p_tenant)
		INTO v_share USING p_flow, p_user;
		v_level := api.access_level(p_user, p_role, v_flow.visibility, v_flow.created_by, v_share);
	END IF;
	IF v_flow.draft_hash IS NULL OR v_level = 0 THEN
		outcome := 'no_flow';
	ELSIF v_level < 2 + p_edits::int THEN
		outcome := 'no_access';
	ELSIF v_flow.status = 'archived' THEN
		outcome := 'archived';
	ELSIF p_version = 'draft' OR (p_version IS NULL AND v_flow.published IS NULL) THEN
		outcome := CASE WHEN p_may_draft AND v_level > 2 THEN 'accepted' ELSE 'no_draft' END;
		doc_hash := v_flow.draft_hash;
	ELSE
		version := coalesce(p_version::int, v_flow.published);
		EXECUTE format('SELECT doc_hash FROM t_%s.flow_versions WHERE flow_id = $1 AND version = $2', p_tenant)
		INTO doc_hash USING p_flow, version;
		outcome := CASE WHEN doc_hash IS NULL THEN 'no_version' ELSE 'accepted' END;
	END IF;
END $$;

-- The first half of an accept: keys and documents. Items that may be accepted come back as such, in the order of ord;
-- flow_pick is asked for the person.
CREATE FUNCTION control.accept_pick(p_tenant int, p_items json) RETURNS control.accept_item[]
LANGUAGE plpgsql AS $$
DECLARE
	v_items control.accept_item[];
	v_item  control.accept_item;
	v_last  control.accept_item; -- calls of one batch mostly run the same flow: look it up once
	v_idem  control.idem;
	v_order int[] := '{1}';
	v_pick  record;
	n       int;
BEGIN
	SELECT array_agg(x ORDER BY x.ord) INTO v_items
	FROM json_populate_recordset(NULL::control.accept_item, p_items) x;
	IF cardinality(v_items) > 1 THEN
		-- in order of their keys, so that two batches with the same keys wait for each other and do not deadlock
		v_order := ARRAY(SELECT i FROM generate_subscripts(v_items, 1) i ORDER BY (v_items[i]).idem, i);
	END IF;
	FOREACH n IN ARRAY v_order LOOP
		v_item := v_items[n];
		v_item.outcome := 'accepted';
		IF v_item.idem IS NOT NULL THEN
			INSERT INTO control.idem (tenant, key, req_hash, eid)
			VALUES (p_tenant, v_item.idem, decode(v_item.req_hash, 'hex'), v_item.eid) ON CONFLICT DO NOTHING;
			IF NOT FOUND THEN
				SELECT * INTO v_idem FROM control.idem i WHERE i.tenant = p_tenant AND i.key = v_item.idem;
				v_item.outcome := CASE WHEN v_idem.req_hash = decode(v_item.req_hash, 'hex') THEN 'replayed'
				                       ELSE 'key_reused' END;
				v_item.eid := v_idem.eid;
			END IF;
		END IF;
		IF v_item.outcome = 'accepted' AND v_item.doc_hash IS NULL THEN
			IF (v_last.flow, v_last.version, v_last.may_draft, v_last.user_id, v_last.role, v_last.options->>'only')
			   IS DISTINCT FROM
			   (v_item.flow, v_item.version, v_item.may_draft, v_item.user_id, v_item.role, v_item.options->>'only')
			   OR v_pick IS NULL THEN
				v_pick := control.flow_pick(p_tenant, v_item.flow, v_item.version, v_item.may_draft, v_item.user_id,
				                            v_item.role, v_item.options->>'only' IS NOT NULL);
				v_last := v_item;
			END IF;
			v_item.doc_hash := v_pick.doc_hash;
			v_item.picked := v_pick.version;
			v_item.outcome := CASE WHEN v_pick.outcome = 'accepted' AND v_item.expect <> v_pick.doc_hash THEN 'changed'
			                       ELSE v_pick.outcome END;
			IF v_item.outcome <> 'accepted' AND v_item.idem IS NOT NULL THEN
				DELETE FROM control.idem i WHERE i.tenant = p_tenant AND i.key = v_item.idem;
			END IF;
		END IF;
		v_items[n] := v_item;
	END LOOP;
	RETURN v_items;
END $$;

-- ---- executions ---------------------------------------------------------------------------------------------------------

-- The state of an execution: what is in flight tells it of a row that is not final. A run that waits (W) has begun.
CREATE FUNCTION api.execution_status(p_status text, p_live "char") RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN p_status NOT IN ('queued', 'running') THEN p_status WHEN p_live IN ('R', 'W') THEN 'running'
	       ELSE 'queued' END
$$;

-- An execution as lists show it. p_row has its columns, state and started_at of its row in flight, and its usage (0015).
CREATE FUNCTION api.execution_summary(p_row record) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN json_build_object('id', p_row.id, 'flow_id', p_row.flow_id, 'version', p_row.version,
		'status', api.execution_status(p_row.status, p_row.live_state), 'created_by', p_row.user_id,
		'created_at', api.time(p_row.created_at), 'start_time', api.time(coalesce(p_row.start_time, p_row.started_at)),
		'end_time', api.time(p_row.end_time), 'deadline', api.time(p_row.deadline), 'labels', p_row.labels,
		'source', p_row.source, 'source_id', p_row.source_id, 'error', p_row.error, 'usage', p_row.usage);
END $$;

CREATE FUNCTION api.label_filter(p_text text) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF p_text IS NULL THEN
		RETURN NULL;
	END IF;
	IF position('=' IN p_text) < 2 THEN
		PERFORM api.refuse('WL422', 'a parameter is wrong', 'label', 'is not of the form name=value');
	END IF;
	RETURN jsonb_build_object(split_part(p_text, '=', 1), substr(p_text, position('=' IN p_text) + 1));
END $$;

-- The place behind which a page begins, from <microseconds of created_at>_<id>.
CREATE FUNCTION api.execution_cursor(p_text text) RETURNS TABLE (at timestamptz, id uuid)
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF p_text IS NOT NULL AND p_text !~ '^[0-9]{1,17}_[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$' THEN
		PERFORM api.refuse('WL400', 'a parameter is wrong', 'cursor', 'is not one that this server gave');
	END IF;
	RETURN QUERY SELECT timestamptz 'epoch' + split_part(p_text, '_', 1)::bigint * interval '1 microsecond',
	                    split_part(p_text, '_', 2)::uuid;
END $$;

-- Conditions on executions e (and its flow f) for the filters that are given; $1 is p_params, $2 who asks. What is
-- not asked for is left out, so that each list is planned for what it is.
CREATE FUNCTION api.executions_where(p_params json, p_role text, p_least int) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v_where text := 'true';
	v_part  record;
BEGIN
	FOR v_part IN SELECT * FROM (VALUES
		('flow_id', 'e.flow_id = ($1->>''flow_id'')::uuid'),
		('created_by', 'e.user_id = ($1->>''created_by'')::uuid'),
		('source', 'e.source = $1->>''source'''),
		('source_id', 'e.source_id = ($1->>''source_id'')::uuid'),
		('label', 'e.labels <> ''{}'' AND e.labels @> (SELECT api.label_filter($1->>''label''))'),
		('labels', 'e.labels <> ''{}'' AND e.labels @> ($1->''labels'')::jsonb'),
		('created_after', 'e.created_at >= (SELECT api.read_time($1->>''created_after'', ''created_after''))'),
		('created_before', 'e.created_at < (SELECT api.read_time($1->>''created_before'', ''created_before''))'),
		('cursor', '(e.created_at, e.id) < (SELECT c.at, c.id FROM api.execution_cursor($1->>''cursor'') c)')) p(name, text)
	LOOP
		IF p_params->>v_part.name IS NOT NULL THEN
			v_where := v_where || ' AND ' || v_part.text;
		END IF;
	END LOOP;
	IF p_params->>'status' IN ('queued', 'running') THEN
		v_where := v_where || ' AND e.status IN (''queued'', ''running'') AND e.id = ANY (ARRAY(SELECT eid FROM control.live
			WHERE api.execution_status(''queued'', state) = $1->>''status''))';
	ELSIF p_params->>'status' IS NOT NULL THEN
		v_where := v_where || ' AND e.status = $1->>''status''';
	END IF;
	IF p_role <> 'admin' THEN
		v_where := v_where || format(' AND (f.visibility IS DISTINCT FROM ''private'' OR f.created_by = $2 OR EXISTS (
			SELECT FROM flow_shares s WHERE s.flow_id = f.id AND s.user_id = $2 AND api.access_number(s.access) >= %s))',
			p_least);
	END IF;
	RETURN v_where;
END $$;

CREATE FUNCTION api.executions_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_params json := p_request->'params';
	v_limit  int := coalesce((v_params->>'limit')::int, 20);
	v_list   json;
	v_next   text;
	v_cursor refcursor;
BEGIN
	-- looked at before the list is: a wrong one is refused also where there is nothing to list
	IF coalesce(v_params->>'created_after', v_params->>'created_before', v_params->>'label', v_params->>'cursor')
	   IS NOT NULL THEN
		PERFORM api.read_time(v_params->>'created_after', 'created_after'),
		        api.read_time(v_params->>'created_before', 'created_before'), api.label_filter(v_params->>'label'),
		        api.execution_cursor(v_params->>'cursor');
	END IF;
	OPEN v_cursor FOR EXECUTE format($sql$
		WITH page AS MATERIALIZED (
			SELECT e.* FROM executions e LEFT JOIN flows f ON f.id = e.flow_id WHERE %s
			ORDER BY e.created_at DESC, e.id DESC LIMIT $3 + 1),
		shown AS (
			SELECT p.*, l.state AS live_state, l.started_at, api.run_usage(p.id) AS usage, row_number() OVER (ORDER BY p.created_at DESC, p.id DESC) AS place
			-- the LIMIT makes it a look-up by id: else all that is in flight is read
			FROM page p LEFT JOIN LATERAL (SELECT state, started_at FROM control.live WHERE eid = p.id LIMIT 1) l
			     ON p.status IN ('queued', 'running'))
		SELECT coalesce(json_agg(api.execution_summary(s) ORDER BY s.place) FILTER (WHERE s.place <= $3), '[]'),
		       CASE WHEN count(*) > $3 THEN max((extract(epoch FROM s.created_at) * 1000000)::bigint || '_' || s.id)
		            FILTER (WHERE s.place = $3) END
		FROM shown s $sql$, api.executions_where(v_params, p_actor->>'role', 1))
	USING v_params, (p_actor->>'user')::uuid, v_limit;
	FETCH v_cursor INTO v_list, v_next;
	CLOSE v_cursor;
	RETURN (200, json_build_object('executions', v_list, 'page_info',
	        json_build_object('limit', v_limit, 'next_cursor', v_next)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.executions_cancel(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id     uuid := (p_request#>>'{params,id}')::uuid;
	v_cancel record;
BEGIN
	PERFORM api.need_execution(p_actor, v_id, 'run');
	SELECT * INTO v_cancel FROM control.cancel(v_id);
	IF v_cancel.outcome = 'gone' THEN
		RAISE EXCEPTION 'the execution has ended: %', (SELECT e.status FROM executions e WHERE e.id = v_id)
			USING ERRCODE = 'WL409';
	END IF;
	PERFORM control.audit(p_actor, 'execution.cancel', 'execution', v_id::text);
	RETURN (202, json_build_object('execution_id', v_id, 'status', v_cancel.outcome), NULL, NULL,
	        json_build_object('cancel', json_build_array(json_build_object('eid', v_id, 'shard', v_cancel.shard,
	                          'ended', v_cancel.outcome = 'cancelled'))))::api.answer;
END $$;

-- By ids or by a filter; executions that have ended, or are not his to cancel, are passed over. In order of their ids,
-- as everywhere, so that no two calls wait for each other.
CREATE FUNCTION api.executions_cancel_many(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_filter    json := p_request#>'{body,filter}';
	v_ids       uuid[];
	v_id        uuid;
	v_one       record;
	v_cursor    refcursor;
	v_effects   jsonb := '[]';
	v_cancelled int := 0;
	v_count     int := 0;
BEGIN
	OPEN v_cursor FOR EXECUTE format('SELECT array_agg(c.id ORDER BY c.id) FROM (
		SELECT e.id FROM executions e LEFT JOIN flows f ON f.id = e.flow_id
		WHERE e.status IN (''queued'', ''running'') AND e.id = ANY ($3) AND %s ORDER BY e.id LIMIT 1001) c',
		api.executions_where(coalesce(v_filter, '{}'), p_actor->>'role', 2))
	USING v_filter, (p_actor->>'user')::uuid, CASE WHEN v_filter IS NULL
		THEN ARRAY(SELECT x::uuid FROM json_array_elements_text(p_request#>'{body,ids}') x)
		ELSE ARRAY(SELECT eid FROM control.live) END;
	FETCH v_cursor INTO v_ids;
	CLOSE v_cursor;
	FOREACH v_id IN ARRAY coalesce(v_ids[1:1000], '{}') LOOP
		SELECT * INTO v_one FROM control.cancel(v_id);
		CONTINUE WHEN v_one.outcome = 'gone';
		v_count := v_count + 1;
		v_cancelled := v_cancelled + (v_one.outcome = 'cancelled')::int;
		v_effects := v_effects || jsonb_build_object('eid', v_id, 'shard', v_one.shard, 'ended', v_one.outcome = 'cancelled');
		PERFORM control.audit(p_actor, 'execution.cancel', 'execution', v_id::text);
	END LOOP;
	RETURN (202, json_build_object('cancelled', v_cancelled, 'cancelling', v_count - v_cancelled,
	        'more', coalesce(cardinality(v_ids), 0) > 1000), NULL, NULL, json_build_object('cancel', v_effects))::api.answer;
END $$;

CREATE FUNCTION api.executions_labels_set(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id  uuid := (p_request#>>'{params,id}')::uuid;
	v_row record;
BEGIN
	PERFORM api.need_execution(p_actor, v_id, 'run');
	UPDATE executions SET labels = (p_request#>'{body,labels}')::jsonb WHERE id = v_id;
	SELECT e.*, l.state AS live_state, l.started_at, api.run_usage(e.id) AS usage INTO v_row
	FROM executions e LEFT JOIN control.live l ON l.eid = e.id WHERE e.id = v_id;
	PERFORM control.audit(p_actor, 'execution.labels', 'execution', v_id::text, p_request->'body');
	RETURN (200, json_build_object('execution', api.execution_summary(v_row)), NULL, NULL, NULL)::api.answer;
END $$;

-- ---- options of a run, and retry -----------------------------------------------------------------------------------------

-- The faults of node ids that a document does not have, as [{"path","message"}]; paths have %s for the place.
CREATE FUNCTION api.unknown_nodes(p_doc json, p_ids json, p_path text) RETURNS json
LANGUAGE sql IMMUTABLE AS $$
	SELECT json_agg(json_build_object('path', format(p_path, i.n - 1), 'message', 'the flow has no such node') ORDER BY i.n)
	FROM json_array_elements_text(p_ids) WITH ORDINALITY AS i(id, n)
	WHERE NOT EXISTS (SELECT FROM json_array_elements(p_doc->'nodes') node WHERE node->>'id' = i.id)
$$;

-- What an earlier run must be for its results to be taken over: visible, of this flow, ended.
CREATE FUNCTION api.check_reuse(p_actor json, p_flow uuid, p_eid uuid, p_member text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_row record;
BEGIN
	PERFORM api.need_execution(p_actor, p_eid, 'view');
	SELECT e.flow_id, e.status INTO v_row FROM executions e WHERE e.id = p_eid;
	IF v_row.flow_id <> p_flow THEN
		PERFORM api.refuse('WL422', 'these results cannot be taken over', 'config.' || p_member || '.execution_id',
		                   'is an execution of another flow');
	ELSIF v_row.status IN ('queued', 'running') THEN
		RAISE EXCEPTION 'the execution whose results are to be taken over has not ended' USING ERRCODE = 'WL409';
	END IF;
END $$;

-- Check the rarer wishes of flows_execute before it accepts: p_request as of that operation.
CREATE FUNCTION api.check_run_options(p_actor json, p_request json) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_flow   uuid := (p_request#>>'{params,id}')::uuid;
	v_config json := p_request#>'{body,config}';
	v_doc    record;
	v_faults jsonb := '[]';
BEGIN
	PERFORM api.need_flow(p_actor, v_flow, CASE WHEN v_config->>'only_node' IS NULL THEN 'run' ELSE 'edit' END);
	IF v_config->'reuse' IS NOT NULL THEN
		PERFORM api.check_reuse(p_actor, v_flow, (v_config#>>'{reuse,execution_id}')::uuid, 'reuse');
	END IF;
	IF v_config->'fork' IS NOT NULL THEN
		PERFORM api.check_reuse(p_actor, v_flow, (v_config#>>'{fork,execution_id}')::uuid, 'fork');
	END IF;
	SELECT * INTO v_doc FROM api.flow_document(v_flow, v_config->>'version', 'config.version');
	IF v_config->>'only_node' IS NOT NULL THEN
		v_faults := v_faults || coalesce(api.unknown_nodes(v_doc.doc, json_build_array(v_config->>'only_node'),
		                                 'config.only_node')::jsonb, '[]');
	END IF;
	IF v_config#>'{reuse,rerun}' IS NOT NULL THEN
		v_faults := v_faults || coalesce(api.unknown_nodes(v_doc.doc, v_config#>'{reuse,rerun}',
		                                 'config.reuse.rerun[%s]')::jsonb, '[]');
	END IF;
	IF v_faults <> '[]' THEN
		PERFORM api.refuse_many('WL422', 'the flow cannot be run like this', v_faults);
	END IF;
END $$;

-- The execution that is run again; WL409 when it has not ended or its flow takes no more.
CREATE FUNCTION api.retry_of(p_actor json, p_eid uuid) RETURNS record
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_row record;
BEGIN
	PERFORM api.need_execution(p_actor, p_eid, 'run');
	SELECT e.*, f.id IS NOT NULL AND (f.deleted_at IS NOT NULL OR f.status = 'archived') AS closed, d.doc INTO v_row
	FROM executions e JOIN flow_docs d ON d.hash = e.doc_hash LEFT JOIN flows f ON f.id = e.flow_id WHERE e.id = p_eid;
	IF v_row.status IN ('queued', 'running') THEN
		RAISE EXCEPTION 'the execution has not ended' USING ERRCODE = 'WL409';
	ELSIF v_row.closed THEN
		RAISE EXCEPTION 'the flow is archived or deleted' USING ERRCODE = 'WL409';
	ELSIF (v_row.version IS NULL OR v_row.options->>'only' IS NOT NULL) AND (p_actor->>'role' NOT IN ('editor', 'admin')
	      OR EXISTS (SELECT FROM flows f WHERE f.id = v_row.flow_id)
	         AND api.access_number(api.flow_access(p_actor, v_row.flow_id)) < 3) THEN
		RAISE EXCEPTION 'running a draft''s document or one node takes the role editor and the access "edit" to the flow'
			USING ERRCODE = 'WL403';
	END IF;
	RETURN v_row;
END $$;

-- The options of a retry: those of the first run; results are taken over but for the nodes of p_rerun (NULL: none is).
CREATE FUNCTION api.retry_options(p_old json, p_eid uuid, p_rerun json) RETURNS json
LANGUAGE sql IMMUTABLE AS $$
	SELECT NULLIF(coalesce(p_old::jsonb, '{}') - 'reuse' || CASE WHEN p_rerun IS NULL THEN '{}'
	       ELSE jsonb_build_object('reuse', jsonb_build_object('execution_id', p_eid, 'rerun', p_rerun::jsonb)) END, '{}')::json
$$;

-- Run an ended execution again over its record of what models and tools answered: nothing outside is asked, nothing is
-- spent. What it comes to is what the first one came to, or the place at which it does not.
CREATE FUNCTION api.executions_replay(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id  uuid := (p_request#>>'{params,id}')::uuid;
	v_old record := api.retry_of(p_actor, v_id);
	v_key text := p_request#>>'{params,Idempotency-Key}';
	v_new record;
BEGIN
	SELECT * INTO v_new FROM api.accept_one(json_build_object('eid', api.uuid7(), 'flow', v_old.flow_id,
		'doc_hash', v_old.doc_hash, 'picked', v_old.version, 'inputs', v_old.inputs, 'labels', v_old.labels,
		'timeout_ms', (extract(epoch FROM v_old.deadline - v_old.created_at) * 1000)::bigint,
		'user_id', p_actor->>'user', 'source', 'replay', 'source_id', v_id,
		'options', coalesce(v_old.options::jsonb, '{}') - 'reuse' ||
			jsonb_build_object('replay', jsonb_build_object('execution_id', v_id, 'mode', 'offline')), 'idem', v_key,
		'req_hash', CASE WHEN v_key IS NOT NULL THEN encode(sha256(convert_to('replay ' || v_id, 'UTF8')), 'hex') END));
	IF NOT v_new.replayed THEN
		PERFORM control.audit(p_actor, 'execution.replay', 'execution', v_id::text,
		                      json_build_object('execution_id', v_new.eid));
	END IF;
	RETURN (202, json_build_object('execution_id', v_new.eid, 'status', 'queued'), NULL,
	        '/api/v1/executions/' || v_new.eid, v_new.effects)::api.answer;
END $$;

-- p_request has, with from failed, failed: the ids of the nodes that failed or were cancelled.
CREATE FUNCTION api.executions_retry(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id    uuid := (p_request#>>'{params,id}')::uuid;
	v_from  text := coalesce(p_request#>>'{body,from}', 'start');
	v_node  text := p_request#>>'{body,node_id}';
	v_old   record := api.retry_of(p_actor, v_id);
	v_rerun json := CASE v_from WHEN 'failed' THEN p_request->'failed' WHEN 'node' THEN json_build_array(v_node) END;
	v_key   text := p_request#>>'{params,Idempotency-Key}';
	v_new   record;
BEGIN
	IF (v_from = 'node') <> (v_node IS NOT NULL) THEN
		PERFORM api.refuse('WL422', 'it is not said where to begin', 'node_id', 'goes with from: node, and only with it');
	ELSIF v_from = 'node' AND api.unknown_nodes(v_old.doc, v_rerun, '') IS NOT NULL THEN
		PERFORM api.refuse('WL422', 'it cannot begin there', 'node_id', 'the flow has no such node');
	ELSIF v_from = 'failed' AND v_old.status = 'succeeded' THEN
		RAISE EXCEPTION 'nothing of this execution failed' USING ERRCODE = 'WL409';
	END IF;
	SELECT * INTO v_new FROM api.accept_one(json_build_object('eid', api.uuid7(), 'flow', v_old.flow_id,
		'doc_hash', v_old.doc_hash, 'picked', v_old.version, 'inputs', v_old.inputs, 'labels', v_old.labels,
		'timeout_ms', (extract(epoch FROM v_old.deadline - v_old.created_at) * 1000)::bigint,
		'user_id', p_actor->>'user', 'source', 'retry', 'source_id', v_id,
		'options', api.retry_options(v_old.options, v_id, v_rerun), 'idem', v_key,
		'req_hash', CASE WHEN v_key IS NOT NULL THEN encode(sha256(convert_to(
			'retry ' || v_id || ' ' || v_from || ' ' || coalesce(v_node, ''), 'UTF8')), 'hex') END));
	IF NOT v_new.replayed THEN
		PERFORM control.audit(p_actor, 'execution.retry', 'execution', v_id::text,
		                      json_build_object('from', v_from, 'execution_id', v_new.eid));
	END IF;
	RETURN (202, json_build_object('execution_id', v_new.eid, 'status', 'queued'), NULL,
	        '/api/v1/executions/' || v_new.eid, v_new.effects)::api.answer;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA control FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.people_known(uuid[]) TO windlass_tenant;
