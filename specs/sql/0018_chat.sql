-- Chat: a person talks with a crew or an agent.
-- A message is stored and its turn begun in one transaction: a turn is a run of the partner, with the conversation as its
-- input. With an attached flow that runs first, and a chore of the scheduler starts the partner's run behind it. What a
-- turn comes to is stored in the transaction that ends its run (end_chat, called by terminal_batch), so that each message
-- gets its answer once, whoever dies meanwhile. A session has one turn under way at most.
-- Messages begin here. The chore puts them into the document server; those that the next turn is given stay here, too.
-- Locks: the ledger's row of a run first, then the session; a run that is being accepted is nobody else's yet.
SET LOCAL ROLE windlass_owner;

CREATE TABLE control.chat_session (
	id         uuid PRIMARY KEY,
	tenant     int  NOT NULL,
	user_id    uuid NOT NULL,
	kind       text NOT NULL CHECK (kind IN ('crew', 'agent')),
	partner    uuid NOT NULL,
	flow       uuid NOT NULL,  -- what its runs count as: see chat_flow
	doc_hash   bytea NOT NULL, -- of the flow document that asks the partner
	title      text NOT NULL CHECK (length(title) <= 200),
	titled     boolean NOT NULL, -- by the person
	rev        int  NOT NULL DEFAULT 1,
	last_seq   int  NOT NULL DEFAULT 0,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX chat_session_of_user ON control.chat_session (tenant, user_id, updated_at DESC, id DESC);

-- The messages of a session are numbered from 1 without a gap.
CREATE TABLE control.chat_message (
	session    uuid NOT NULL REFERENCES control.chat_session ON DELETE CASCADE,
	seq        int  NOT NULL,
	tenant     int  NOT NULL,
	id         uuid NOT NULL,
	role       text NOT NULL CHECK (role IN ('user', 'flow', 'assistant')),
	status     text NOT NULL CHECK (status IN ('done', 'failed', 'stopped')),
	content    text NOT NULL,
	truncated  boolean NOT NULL DEFAULT false,
	error      json,
	eid        uuid, -- of a user's message: the run that was begun; of the others: the run that they come from
	flow       uuid, -- attached
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	shipped    boolean NOT NULL DEFAULT false, -- the document server has it
	PRIMARY KEY (session, seq)
);
CREATE INDEX chat_message_unshipped ON control.chat_message (session, seq) WHERE NOT shipped;

-- The turn under way. step: flow (the attached flow runs), ask (it has ended, the partner is to be asked), partner.
CREATE TABLE control.chat_turn (
	session uuid PRIMARY KEY REFERENCES control.chat_session ON DELETE CASCADE,
	tenant  int  NOT NULL,
	seq     int  NOT NULL, -- of the person's message
	step    text NOT NULL CHECK (step IN ('flow', 'ask', 'partner')),
	eid     uuid,          -- the run under way; NULL in step ask
	due     timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX chat_turn_of_run ON control.chat_turn (eid);
CREATE INDEX chat_turn_due ON control.chat_turn (due) WHERE step = 'ask';

CREATE TABLE control.chat_key (
	session  uuid NOT NULL REFERENCES control.chat_session ON DELETE CASCADE,
	key      text NOT NULL,
	tenant   int  NOT NULL,
	req_hash bytea NOT NULL,
	answer   json NOT NULL,
	created  timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (session, key)
);

-- Deleted sessions, until their messages are gone from the document server.
CREATE TABLE control.chat_gone (
	session uuid PRIMARY KEY,
	tenant  int  NOT NULL,
	passes  int  NOT NULL DEFAULT 0,
	due     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX chat_gone_due ON control.chat_gone (due);

CREATE VIEW control.my_chat_session WITH (security_barrier) AS
	SELECT s.*, t.seq AS turn_seq, t.step AS turn_step, t.eid AS turn_eid
	FROM control.chat_session s LEFT JOIN control.chat_turn t ON t.session = s.id
	WHERE s.tenant = control.tenant_of_role();
CREATE VIEW control.my_chat_message WITH (security_barrier) AS
	SELECT * FROM control.chat_message WHERE tenant = control.tenant_of_role();
GRANT SELECT ON control.my_chat_session, control.my_chat_message TO windlass_tenant;

-- ---- texts ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION control.chat_message_json(m control.chat_message) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('id', m.id, 'seq', m.seq, 'role', m.role, 'status', m.status, 'content', m.content,
		'truncated', m.truncated, 'error', m.error, 'execution_id', m.eid, 'attached_flow_id', m.flow,
		'created_at', api.time(m.created_at))
$$;

CREATE FUNCTION api.chat_turn_json(s control.my_chat_session) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT CASE WHEN s.turn_step IS NOT NULL THEN json_build_object('seq', s.turn_seq, 'step',
		CASE s.turn_step WHEN 'flow' THEN 'flow' ELSE 'partner' END, 'execution_id', s.turn_eid) END
$$;

CREATE FUNCTION api.chat_session_json(s control.my_chat_session) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('id', s.id, 'title', s.title, 'crew_id', CASE WHEN s.kind = 'crew' THEN s.partner END,
		'agent_id', CASE WHEN s.kind = 'agent' THEN s.partner END, 'messages', s.last_seq, 'turn', api.chat_turn_json(s),
		'created_at', api.time(s.created_at), 'updated_at', api.time(s.updated_at), 'rev', s.rev)
$$;

-- A title from a message: its first line, cut at a word.
CREATE FUNCTION control.chat_title(p_text text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN length(line) <= 60 THEN line
	       ELSE regexp_replace(left(line, 60), '\s+\S*$', '') || '…' END
	FROM (SELECT btrim(regexp_replace(split_part(btrim(left(p_text, 2000), E' \t\r\n'), E'\n', 1), '[[:cntrl:]]', ' ', 'g'))
	      AS line) l
$$;

-- The conversation before message p_before as the partner reads it: the newest messages that fit into 32 KB.
CREATE FUNCTION control.chat_history(p_session uuid, p_before int) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT coalesce(string_agg(CASE role WHEN 'user' THEN 'Person: ' WHEN 'flow' THEN 'Result of a flow: ' ELSE 'You: ' END
	                           || content, E'\n\n' ORDER BY seq), '')
	FROM (SELECT m.seq, m.role, m.content, sum(octet_length(m.content) + 20) OVER (ORDER BY m.seq DESC) AS bytes
	      FROM control.chat_message m WHERE m.session = p_session AND m.seq < p_before AND m.content <> '') w
	WHERE bytes <= 32768
$$;

-- Names in braces that the texts of a crew or an agent ask for.
CREATE FUNCTION control.chat_places(p_tenant int, p_kind text, p_partner uuid) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_places text[];
BEGIN
	EXECUTE format($sql$
		WITH partner AS (SELECT body FROM t_%1$s.resources WHERE id = $1 AND kind = $2),
		people AS (SELECT a.body FROM partner p, t_%1$s.resources a WHERE a.kind = 'agent' AND a.deleted_at IS NULL
			AND (a.id = $1 OR $2 = 'crew' AND (a.id::text IN (SELECT json_array_elements_text(p.body->'agent_ids'))
			     OR a.id::text = p.body #>> '{config,manager_agent_id}'))),
		texts AS (SELECT concat_ws(' ', body->>'system_prompt', body #>> '{config,role}', body #>> '{config,goal}',
				body #>> '{config,backstory}') AS text FROM people
			UNION ALL SELECT concat_ws(' ', t->>'description', t->>'expected_output') FROM partner p,
				json_array_elements(CASE WHEN $2 = 'crew' THEN coalesce(p.body #> '{config,tasks}', '[]') ELSE '[]' END) t)
		SELECT coalesce(array_agg(DISTINCT m[1]), '{}') FROM texts,
			regexp_matches(text, '\{([A-Za-z_][A-Za-z0-9_-]*)\}', 'g') m$sql$, p_tenant)
	INTO v_places USING p_partner, p_kind;
	RETURN v_places;
END $$;

-- What the partner's run is given. A place in braces that nobody filled gets the message; a crew whose texts have no place
-- for it gets it as context of its tasks.
CREATE FUNCTION control.chat_inputs(p_session control.chat_session, p_seq int, p_message text, p_given json) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_places  text[] := control.chat_places(p_session.tenant, p_session.kind, p_session.partner);
	v_history text := control.chat_history(p_session.id, p_seq);
	v_open    text[];
	v_values  jsonb := coalesce(p_given, '{}')::jsonb;
	v_context text := '';
BEGIN
	v_open := ARRAY(SELECT p FROM unnest(v_places) p WHERE p <> 'history' AND NOT v_values ? p);
	v_values := jsonb_build_object('message', p_message, 'history', v_history) ||
		coalesce((SELECT jsonb_object_agg(p, p_message) FROM unnest(v_open) p), '{}') || v_values;
	IF p_session.kind = 'agent' OR NOT 'history' = ANY (v_places) AND v_history <> '' THEN
		v_context := CASE WHEN v_history <> '' THEN E'The conversation so far:\n' || v_history || E'\n\n' ELSE '' END;
	END IF;
	IF p_session.kind = 'agent' THEN
		RETURN json_build_object('inputs', v_values, 'task', CASE WHEN v_context = '' THEN p_message
			ELSE v_context || E'The newest message, which you answer now:\n' || p_message END);
	END IF;
	IF v_open = '{}' AND NOT 'message' = ANY (v_places) THEN
		v_context := v_context || E'The person who asks you says:\n' || p_message;
	END IF;
	RETURN json_build_object('inputs', v_values, 'context', v_context);
END $$;

-- ---- messages --------------------------------------------------------------------------------------------------------

-- Put a message behind the last one of a session whose row is held.
CREATE FUNCTION control.chat_put(p_session uuid, p_role text, p_status text, p_content text, p_error json, p_eid uuid,
                                 p_flow uuid) RETURNS control.chat_message
LANGUAGE plpgsql AS $$
DECLARE
	c_most    CONSTANT int := 65536; -- characters
	v_session control.chat_session;
	v_message control.chat_message;
BEGIN
	UPDATE control.chat_session s SET last_seq = s.last_seq + 1, updated_at = clock_timestamp(), title = CASE
		WHEN s.titled OR s.title <> '' OR p_role <> 'user' THEN s.title ELSE control.chat_title(p_content) END
	WHERE s.id = p_session RETURNING s.* INTO v_session;
	INSERT INTO control.chat_message AS m (session, seq, tenant, id, role, status, content, truncated, error, eid, flow)
	VALUES (p_session, v_session.last_seq, v_session.tenant, api.uuid7(), p_role, p_status, left(p_content, c_most),
	        length(p_content) > c_most, p_error, p_eid, p_flow)
	RETURNING m.* INTO v_message;
	RETURN v_message;
END $$;

-- The session of the path for a change: it is the actor's own, and held until the end of the transaction.
CREATE FUNCTION control.chat_hold(p_actor json, p_session uuid) RETURNS control.chat_session
LANGUAGE plpgsql AS $$
DECLARE
	v_session control.chat_session;
BEGIN
	SELECT * INTO v_session FROM control.chat_session s WHERE s.id = p_session AND s.tenant = control.tenant_of_role()
		AND s.user_id = (p_actor->>'user')::uuid FOR UPDATE;
	IF NOT FOUND THEN
		PERFORM api.missing('chat session');
	END IF;
	RETURN v_session;
END $$;

-- WL409 unless there is such a crew or agent that starts runs; WL422 naming p_path when p_path is given.
CREATE FUNCTION control.chat_partner_check(p_tenant int, p_kind text, p_partner uuid, p_path text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_state text;
BEGIN
	EXECUTE format('SELECT r.state FROM t_%s.resources r WHERE r.id = $1 AND r.kind = $2 AND r.deleted_at IS NULL', p_tenant)
	INTO v_state USING p_partner, p_kind;
	IF v_state IS NULL AND p_path IS NOT NULL THEN
		PERFORM api.refuse('WL422', 'there is nobody to talk with', p_path, format('names no %s of this tenant', p_kind));
	ELSIF v_state IS NULL THEN
		RAISE EXCEPTION 'the % of this chat is deleted', p_kind USING ERRCODE = 'WL409';
	ELSIF v_state = 'archived' THEN
		RAISE EXCEPTION 'the % is archived: it answers nobody', p_kind USING ERRCODE = 'WL409';
	END IF;
END $$;

-- The run that asks the partner, as an item for accept.
CREATE FUNCTION control.chat_item(p_session control.chat_session, p_seq int, p_message text, p_given json) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('ord', 0, 'eid', api.uuid7(), 'flow', p_session.flow, 'user_id', p_session.user_id,
		'doc_hash', '\x' || encode(p_session.doc_hash, 'hex'), 'source', 'chat', 'source_id', p_session.id,
		'timeout_ms', 3610000, 'inputs', control.chat_inputs(p_session, p_seq, p_message, p_given))
$$;

-- A person says something: {"params", "body", "expect": hash of the attached flow's document that was looked at}.
CREATE FUNCTION control.chat_say(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	c_most    CONSTANT int := 10000; -- messages of a session
	v_body    json := p_request->'body';
	v_key     text := p_request #>> '{params,Idempotency-Key}';
	v_hash    bytea := sha256(convert_to(v_body::text, 'UTF8'));
	v_flow    uuid := (v_body->>'attached_flow_id')::uuid;
	v_session control.chat_session := control.chat_hold(p_actor, (p_request #>> '{params,id}')::uuid);
	v_known   control.chat_key;
	v_turn    control.chat_turn;
	v_message control.chat_message;
	v_run     record;
	v_answer  json;
BEGIN
	DELETE FROM control.chat_key k WHERE k.session = v_session.id AND k.created < now() - interval '24 hours';
	SELECT * INTO v_known FROM control.chat_key k WHERE k.session = v_session.id AND k.key = v_key;
	IF FOUND AND v_known.req_hash <> v_hash THEN
		RAISE EXCEPTION 'this Idempotency-Key was used with another body' USING ERRCODE = 'WL422';
	ELSIF FOUND THEN
		RETURN (202, v_known.answer, NULL, NULL, NULL)::api.answer;
	END IF;
	SELECT * INTO v_turn FROM control.chat_turn t WHERE t.session = v_session.id;
	IF FOUND THEN
		RAISE EXCEPTION 'the message before this one is still being answered%',
			coalesce(' by the execution ' || v_turn.eid, '') USING ERRCODE = 'WL409';
	ELSIF v_session.last_seq >= c_most THEN
		RAISE EXCEPTION 'this chat has as many messages as one may have: begin another' USING ERRCODE = 'WL409';
	END IF;
	PERFORM control.chat_partner_check(v_session.tenant, v_session.kind, v_session.partner);
	SELECT * INTO v_run FROM api.accept_one(CASE WHEN v_flow IS NULL
		THEN control.chat_item(v_session, v_session.last_seq + 1, v_body->>'content', v_body->'inputs')
		ELSE json_build_object('eid', api.uuid7(), 'flow', v_flow, 'user_id', v_session.user_id, 'role', p_actor->>'role',
			'may_draft', p_actor->>'role' IN ('editor', 'admin'), 'source', 'chat', 'source_id', v_session.id,
			'expect', '\x' || (p_request->>'expect'), 'inputs', coalesce(v_body->'inputs', '{}')) END);
	v_message := control.chat_put(v_session.id, 'user', 'done', v_body->>'content', NULL, v_run.eid, v_flow);
	INSERT INTO control.chat_turn (session, tenant, seq, step, eid)
	VALUES (v_session.id, v_session.tenant, v_message.seq, CASE WHEN v_flow IS NULL THEN 'partner' ELSE 'flow' END, v_run.eid);
	v_answer := json_build_object('message_id', v_message.id, 'seq', v_message.seq, 'execution_id', v_run.eid);
	IF v_key IS NOT NULL THEN
		INSERT INTO control.chat_key (session, key, tenant, req_hash, answer)
		VALUES (v_session.id, v_key, v_session.tenant, v_hash, v_answer);
	END IF;
	PERFORM control.audit(p_actor, 'chat.message', 'chat_session', v_session.id::text,
	                      json_build_object('seq', v_message.seq, 'execution_id', v_run.eid));
	RETURN (202, v_answer, NULL, NULL, v_run.effects)::api.answer;
END $$;

-- ---- the end of a run ---------------------------------------------------------------------------------------------------

-- The text of an answer; one that cannot be read as text is shown as it is.
CREATE FUNCTION control.chat_text(p_outputs json) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN coalesce(p_outputs->>'text', p_outputs::text, '');
EXCEPTION WHEN data_exception THEN
	RETURN p_outputs::text;
END $$;

-- A turn's run has ended: what it came to is a message. Called in the transaction that ends it.
CREATE FUNCTION control.chat_run_ended(p_ended control.ended) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_session uuid;
	v_turn    control.chat_turn;
	v_flow    uuid;
	v_status  text := CASE p_ended.status WHEN 'succeeded' THEN 'done' WHEN 'cancelled' THEN 'stopped' ELSE 'failed' END;
	v_error   json := CASE WHEN p_ended.status IN ('succeeded', 'cancelled') THEN NULL ELSE coalesce(p_ended.error,
		json_build_object('code', p_ended.status, 'message', 'the run ended as ' || p_ended.status)) END;
BEGIN
	SELECT t.session INTO v_session FROM control.chat_turn t WHERE t.eid = p_ended.eid;
	PERFORM FROM control.chat_session s WHERE s.id = v_session FOR UPDATE;
	SELECT * INTO v_turn FROM control.chat_turn t WHERE t.session = v_session AND t.eid = p_ended.eid;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	IF v_turn.step = 'flow' THEN
		SELECT m.flow INTO v_flow FROM control.chat_message m WHERE m.session = v_session AND m.seq = v_turn.seq;
		PERFORM control.chat_put(v_session, 'flow', v_status, coalesce(p_ended.outputs::text, ''), v_error, p_ended.eid, v_flow);
	END IF;
	IF v_turn.step = 'flow' AND v_status = 'done' THEN
		UPDATE control.chat_turn t SET step = 'ask', eid = NULL, due = now() WHERE t.session = v_session;
		RETURN;
	END IF;
	PERFORM control.chat_put(v_session, 'assistant', v_status,
		CASE WHEN v_turn.step = 'partner' AND v_status = 'done' THEN control.chat_text(p_ended.outputs) ELSE '' END, v_error,
		p_ended.eid, NULL);
	DELETE FROM control.chat_turn t WHERE t.session = v_session;
END $$;

CREATE FUNCTION control.end_chat(p_ended control.ended[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_one control.ended;
BEGIN
	FOR v_one IN SELECT (e).* FROM (SELECT unnest(p_ended) AS e) u
	             WHERE EXISTS (SELECT FROM control.chat_turn t WHERE t.eid = (e).eid) ORDER BY (e).eid LOOP
		PERFORM control.chat_run_ended(v_one);
	END LOOP;
END $$;

-- End the turn of a session that is held, without a run.
CREATE FUNCTION control.chat_give_up(p_session uuid, p_status text, p_error json) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM control.chat_put(p_session, 'assistant', p_status, '', p_error, NULL, NULL);
	DELETE FROM control.chat_turn t WHERE t.session = p_session;
END $$;

-- Stop the turn under way: effects as an api function answers them, NULL when there is none.
CREATE FUNCTION control.chat_stop(p_actor json, p_session uuid) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_turn   control.chat_turn;
	v_cancel record;
BEGIN
	SELECT t.* INTO v_turn FROM control.chat_turn t WHERE t.session = p_session AND t.tenant = control.tenant_of_role();
	SELECT c.* INTO v_cancel FROM control.cancel(v_turn.eid) c;
	IF v_cancel.outcome = 'gone' THEN -- it has just ended, or the partner is about to be asked
		PERFORM control.chat_hold(p_actor, p_session);
		SELECT t.* INTO v_turn FROM control.chat_turn t WHERE t.session = p_session;
		IF v_turn.step = 'ask' THEN
			PERFORM control.chat_give_up(p_session, 'stopped', NULL);
			RETURN json_build_object('status', 'stopped', 'execution_id', NULL, 'effects', NULL);
		END IF;
		SELECT c.* INTO v_cancel FROM control.cancel(v_turn.eid) c;
	END IF;
	IF v_cancel.outcome = 'gone' THEN
		RETURN NULL;
	END IF;
	RETURN json_build_object('status', CASE v_cancel.outcome WHEN 'cancelled' THEN 'stopped' ELSE 'stopping' END,
		'execution_id', v_turn.eid, 'effects', json_build_object('cancel', json_build_array(json_build_object('eid',
		v_turn.eid, 'shard', v_cancel.shard, 'ended', v_cancel.outcome = 'cancelled'))));
END $$;

-- ---- sessions ---------------------------------------------------------------------------------------------------------

-- What a person's chat runs count as: a private flow of his that stands in no list, so that nobody but he and admins sees
-- them, and nobody starts them again without their chat.
CREATE FUNCTION control.chat_flow(p_tenant int, p_user uuid, p_hash bytea) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
	v_id uuid := md5('chat of ' || p_user)::uuid;
BEGIN
	EXECUTE format('INSERT INTO t_%s.flows (id, name, description, status, draft_hash, created_by, deleted_at, visibility)
	                VALUES ($1, ''Chats'', ''What the runs of chats are counted under'', ''archived'', $2, $3, now(), ''private'')
	                ON CONFLICT DO NOTHING', p_tenant) USING v_id, p_hash, p_user;
	RETURN v_id;
END $$;

CREATE FUNCTION control.chat_create(p_actor json, p_request json) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	c_most    CONSTANT int := 1000; -- sessions of a person
	v_tenant  int := control.tenant_of_role();
	v_user    uuid := (p_actor->>'user')::uuid;
	v_kind    text := CASE WHEN p_request #>> '{body,crew_id}' IS NOT NULL THEN 'crew' ELSE 'agent' END;
	v_partner uuid := (p_request->'body'->>(v_kind || '_id'))::uuid;
	v_hash    bytea := decode(p_request->>'hash', 'hex');
	v_id      uuid := api.uuid7();
	v_count   int;
BEGIN
	IF (p_request #>> '{body,crew_id}' IS NULL) = (p_request #>> '{body,agent_id}' IS NULL) THEN
		PERFORM api.refuse('WL422', 'a chat has one partner', 'crew_id', 'give either this or agent_id');
	END IF;
	PERFORM control.tenant_lock('chats of ' || v_user);
	SELECT count(*) INTO v_count FROM control.chat_session s WHERE s.tenant = v_tenant AND s.user_id = v_user;
	IF v_count >= c_most THEN
		RAISE EXCEPTION 'you have as many chats as one may have: delete some' USING ERRCODE = 'WL429',
			DETAIL = json_build_object('quota', 'chat_sessions', 'limit', c_most, 'used', v_count)::text;
	END IF;
	PERFORM control.chat_partner_check(v_tenant, v_kind, v_partner, v_kind || '_id');
	EXECUTE format('INSERT INTO t_%s.flow_docs AS d (hash, doc) VALUES ($1, $2) ON CONFLICT (hash)
		DO UPDATE SET unused_since = NULL WHERE d.unused_since IS NOT NULL', v_tenant)
	USING v_hash, p_request->'document';
	INSERT INTO control.chat_session (id, tenant, user_id, kind, partner, flow, doc_hash, title, titled)
	VALUES (v_id, v_tenant, v_user, v_kind, v_partner, control.chat_flow(v_tenant, v_user, v_hash), v_hash,
	        coalesce(p_request #>> '{body,title}', ''), p_request #>> '{body,title}' IS NOT NULL);
	PERFORM control.audit(p_actor, 'chat.create', 'chat_session', v_id::text,
	                      json_build_object('partner', v_kind, 'partner_id', v_partner));
	RETURN v_id;
END $$;

CREATE FUNCTION control.chat_rename(p_actor json, p_request json) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_session control.chat_session := control.chat_hold(p_actor, (p_request #>> '{params,id}')::uuid);
BEGIN
	PERFORM api.check_match(p_request #>> '{params,If-Match}', v_session.rev, 'chat session');
	UPDATE control.chat_session s SET title = p_request #>> '{body,title}', titled = true, rev = s.rev + 1 WHERE s.id = v_session.id;
	PERFORM control.audit(p_actor, 'chat.update', 'chat_session', v_session.id::text, json_build_object('changed', json_build_array('title')));
END $$;

-- Forget a session and what it holds.
CREATE FUNCTION control.chat_drop(p_tenant int, p_session uuid) RETURNS void
LANGUAGE sql AS $$
	INSERT INTO control.chat_gone (session, tenant) VALUES (p_session, p_tenant) ON CONFLICT DO NOTHING;
	DELETE FROM control.chat_session WHERE id = p_session AND tenant = p_tenant;
$$;

-- Of somebody who leaves the tenant: control.user_delete() calls it.
CREATE FUNCTION control.chat_drop_user(p_tenant int, p_user uuid) RETURNS void
LANGUAGE sql AS $$
	SELECT control.chat_drop(p_tenant, s.id) FROM control.chat_session s WHERE s.tenant = p_tenant AND s.user_id = p_user
$$;

CREATE FUNCTION control.chat_delete(p_actor json, p_session uuid) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_stopped json := control.chat_stop(p_actor, p_session);
	v_session control.chat_session := control.chat_hold(p_actor, p_session);
BEGIN
	PERFORM control.chat_drop(v_session.tenant, p_session);
	PERFORM control.audit(p_actor, 'chat.delete', 'chat_session', p_session::text, json_build_object('title', v_session.title));
	RETURN v_stopped->'effects';
END $$;

-- ---- called by the scheduler's chore ---------------------------------------------------------------------------------

-- Ask the partner of a turn whose flow has ended; the entry for the queue, or NULL.
CREATE FUNCTION control.chat_ask(p_turn control.chat_turn, p_session control.chat_session) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
	v_said  text;
	v_gave  text;
	v_role  text;
	v_run   control.accepted;
BEGIN
	SELECT u.role INTO v_role FROM control.app_user u WHERE u.id = p_session.user_id AND u.state = 'active';
	IF v_role IS NULL OR v_role = 'viewer' THEN
		RAISE EXCEPTION 'who asked may start no more runs' USING ERRCODE = 'WL403';
	END IF;
	PERFORM control.chat_partner_check(p_session.tenant, p_session.kind, p_session.partner);
	SELECT m.content INTO v_said FROM control.chat_message m WHERE m.session = p_session.id AND m.seq = p_turn.seq;
	SELECT m.content INTO v_gave FROM control.chat_message m WHERE m.session = p_session.id AND m.seq = p_turn.seq + 1;
	SELECT * INTO v_run FROM control.accept_for(p_session.tenant, json_build_array(control.chat_item(p_session, p_turn.seq,
		v_said || E'\n\nA flow was run for this. It gave:\n' || left(v_gave, 32768), NULL)));
	IF v_run.outcome = 'backlog' THEN
		UPDATE control.chat_turn t SET due = now() + interval '5 s' WHERE t.session = p_session.id;
		RETURN NULL;
	ELSIF v_run.outcome <> 'accepted' THEN
		RAISE EXCEPTION 'the executions of this day are used up' USING ERRCODE = 'WL429';
	END IF;
	UPDATE control.chat_turn t SET step = 'partner', eid = v_run.eid WHERE t.session = p_session.id;
	RETURN json_build_object('eid', v_run.eid, 'tenant', v_run.tenant, 'shard', v_run.shard, 'gen', v_run.gen, 'seq', v_run.seq);
END $$;

-- Partners that are to be asked: {"limit"}; what is to be enqueued.
CREATE FUNCTION control.chat_next(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_id      uuid;
	v_turn    control.chat_turn;
	v_session control.chat_session;
	v_entry   json;
	v_all     json[] := '{}';
BEGIN
	FOR v_id IN SELECT t.session FROM control.chat_turn t WHERE t.step = 'ask' AND t.due <= now() ORDER BY t.due
	            LIMIT (p_request->>'limit')::int LOOP
		SELECT * INTO v_session FROM control.chat_session s WHERE s.id = v_id FOR UPDATE SKIP LOCKED;
		CONTINUE WHEN NOT FOUND;
		SELECT * INTO v_turn FROM control.chat_turn t WHERE t.session = v_id AND t.step = 'ask' AND t.due <= now();
		CONTINUE WHEN NOT FOUND;
		BEGIN
			v_entry := control.chat_ask(v_turn, v_session);
			IF v_entry IS NOT NULL THEN
				v_all := v_all || v_entry;
			END IF;
		EXCEPTION WHEN SQLSTATE 'WL403' OR SQLSTATE 'WL409' OR SQLSTATE 'WL429' THEN
			PERFORM control.chat_give_up(v_id, 'failed', json_build_object('code', 'not_asked', 'message', SQLERRM));
		END;
	END LOOP;
	RETURN array_to_json(v_all);
END $$;

-- Messages that the document server does not have yet: {"limit"}.
CREATE FUNCTION control.chat_unshipped(p_request json) RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT coalesce(json_agg(json_build_object('tenant', m.tenant, 'session', m.session, 'seq', m.seq,
	                         'message', control.chat_message_json(m))), '[]')
	FROM (SELECT * FROM control.chat_message WHERE NOT shipped ORDER BY session, seq LIMIT (p_request->>'limit')::int) m
$$;

-- It has them now: {"messages": [{"session","seq"}]}. Those that no turn is given any more leave.
CREATE FUNCTION control.chat_shipped(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	UPDATE control.chat_message m SET shipped = true
	FROM json_to_recordset(p_request->'messages') x(session uuid, seq int) WHERE m.session = x.session AND m.seq = x.seq;
	DELETE FROM control.chat_message d USING (
		SELECT m.session, m.seq, sum(octet_length(m.content) + 20) OVER (PARTITION BY m.session ORDER BY m.seq DESC)
		       - octet_length(m.content) - 20 AS bytes
		FROM control.chat_message m
		WHERE m.session IN (SELECT x.session FROM json_to_recordset(p_request->'messages') x(session uuid))) w
	WHERE d.session = w.session AND d.seq = w.seq AND d.shipped AND w.bytes > 32768
	  AND NOT EXISTS (SELECT FROM control.chat_turn t WHERE t.session = d.session AND t.seq <= d.seq);
	RETURN NULL;
END $$;

-- Sessions whose messages are to go from the document server: {"limit"}; [{"tenant","session"}].
CREATE FUNCTION control.chat_gone_due(p_request json) RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT coalesce(json_agg(json_build_object('tenant', g.tenant, 'session', g.session)), '[]')
	FROM (SELECT * FROM control.chat_gone WHERE due <= now() ORDER BY due LIMIT (p_request->>'limit')::int) g
$$;

-- They are gone: {"sessions": [id]}. A scheduler that hung may still have put some of them after that, so they are looked
-- for once more.
CREATE FUNCTION control.chat_gone_done(p_request json) RETURNS json
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	DELETE FROM control.chat_gone g WHERE g.passes > 0
		AND g.session IN (SELECT x::uuid FROM json_array_elements_text(p_request->'sessions') x);
	UPDATE control.chat_gone g SET passes = 1, due = now() + interval '10 minutes'
	WHERE g.session IN (SELECT x::uuid FROM json_array_elements_text(p_request->'sessions') x);
	SELECT NULL::json;
$$;

-- ---- the API ---------------------------------------------------------------------------------------------------------

-- A chat is its maker's alone.
CREATE FUNCTION api.chat_need(p_actor json, p_request json) RETURNS control.my_chat_session
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_session control.my_chat_session;
BEGIN
	SELECT * INTO v_session FROM control.my_chat_session s
	WHERE s.id = (p_request #>> '{params,id}')::uuid AND s.user_id = (p_actor->>'user')::uuid;
	IF NOT FOUND THEN
		PERFORM api.missing('chat session');
	END IF;
	RETURN v_session;
END $$;

CREATE FUNCTION api.chat_session_answer(p_status int, p_id uuid) RETURNS api.answer
LANGUAGE sql STABLE AS $$
	SELECT p_status, json_build_object('session', api.chat_session_json(s)), s.rev::text,
	       CASE WHEN p_status = 201 THEN '/api/v1/chat/sessions/' || s.id END, NULL::json
	FROM control.my_chat_session s WHERE s.id = p_id
$$;

CREATE FUNCTION api.chat_sessions_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_page  int  := (p_request #>> '{params,page}')::int;
	v_limit int  := (p_request #>> '{params,limit}')::int;
	v_query text := lower(p_request #>> '{params,q}');
	v_user  uuid := (p_actor->>'user')::uuid;
	v_list  json;
	v_total bigint;
BEGIN
	SELECT count(*) INTO v_total FROM control.my_chat_session s
	WHERE s.user_id = v_user AND (v_query IS NULL OR position(v_query IN lower(s.title)) > 0);
	SELECT coalesce(json_agg(p.shown), '[]') INTO v_list FROM (
		SELECT api.chat_session_json(s) AS shown FROM control.my_chat_session s
		WHERE s.user_id = v_user AND (v_query IS NULL OR position(v_query IN lower(s.title)) > 0)
		ORDER BY s.updated_at DESC, s.id DESC LIMIT v_limit OFFSET v_limit::bigint * (v_page - 1)) p;
	RETURN (200, json_build_object('sessions', v_list, 'total', v_total,
	                               'page_info', api.page_info(v_page, v_limit, v_total)), NULL, NULL, NULL)::api.answer;
END $$;

-- With hash and document: the flow that asks the partner, as the server makes it.
CREATE FUNCTION api.chat_sessions_create(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id uuid := control.chat_create(p_actor, p_request);
BEGIN
	RETURN api.chat_session_answer(201, v_id);
END $$;

CREATE FUNCTION api.chat_sessions_get(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql STABLE AS $$ SELECT api.chat_session_answer(200, (api.chat_need(p_actor, p_request)).id) $$;

CREATE FUNCTION api.chat_sessions_update(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM control.chat_rename(p_actor, p_request);
	RETURN api.chat_session_answer(200, (p_request #>> '{params,id}')::uuid);
END $$;

CREATE FUNCTION api.chat_sessions_delete(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM api.chat_need(p_actor, p_request);
	RETURN (204, NULL, NULL, NULL, control.chat_delete(p_actor, (p_request #>> '{params,id}')::uuid))::api.answer;
END $$;

CREATE FUNCTION api.chat_sessions_stop(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id      uuid := (api.chat_need(p_actor, p_request)).id;
	v_stopped json := control.chat_stop(p_actor, v_id);
BEGIN
	IF v_stopped IS NULL THEN
		RAISE EXCEPTION 'nothing is being answered in this chat' USING ERRCODE = 'WL409';
	END IF;
	PERFORM control.audit(p_actor, 'chat.stop', 'chat_session', v_id::text,
	                      json_build_object('execution_id', v_stopped->'execution_id'));
	RETURN (202, json_build_object('status', v_stopped->'status', 'execution_id', v_stopped->'execution_id'), NULL, NULL,
	        v_stopped->'effects')::api.answer;
END $$;

-- Those that are here; the server puts those of the document server between them.
CREATE FUNCTION api.chat_messages_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_session control.my_chat_session := api.chat_need(p_actor, p_request);
	v_after   bigint := coalesce((p_request #>> '{params,cursor}')::bigint, 0);
	v_limit   int := (p_request #>> '{params,limit}')::int;
	v_last    bigint := least(v_after + v_limit, v_session.last_seq);
	v_list    json;
BEGIN
	SELECT coalesce(json_agg(json_build_object('id', m.id, 'seq', m.seq, 'role', m.role, 'status', m.status,
		'content', m.content, 'truncated', m.truncated, 'error', m.error, 'execution_id', m.eid, 'attached_flow_id', m.flow,
		'created_at', api.time(m.created_at)) ORDER BY m.seq), '[]') INTO v_list
	FROM control.my_chat_message m WHERE m.session = v_session.id AND m.seq > v_after AND m.seq <= v_last;
	RETURN (200, json_build_object('messages', v_list, 'total', v_session.last_seq, 'turn', api.chat_turn_json(v_session),
		'page_info', json_build_object('limit', v_limit, 'next_cursor',
		CASE WHEN v_last < v_session.last_seq THEN v_last::text END)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.chat_messages_create(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql AS $$ SELECT control.chat_say(p_actor, p_request) $$;

-- Where a stream begins that names no place: behind the newest message.
CREATE FUNCTION api.chat_stream(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_session control.my_chat_session := api.chat_need(p_actor, p_request);
BEGIN
	RETURN (200, json_build_object('last_seq', v_session.last_seq), NULL, NULL, NULL)::api.answer;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA control FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.chat_say(json, json), control.chat_stop(json, uuid), control.chat_create(json, json),
	control.chat_rename(json, json), control.chat_delete(json, uuid) TO windlass_tenant;
GRANT EXECUTE ON FUNCTION control.chat_next(json), control.chat_unshipped(json), control.chat_shipped(json),
	control.chat_gone_due(json), control.chat_gone_done(json) TO windlass_engine;
