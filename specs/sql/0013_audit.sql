-- The audit log: sealed into a chain, shipped, listed.
-- An entry begins in control.audit_outbox, in the transaction of what it tells of (0004). A chore of the scheduler seals
-- what was committed: each entry gets the next number of its tenant and a hash over the hash before it and its own
-- text. Then it is shipped to the document server and leaves the outbox. Sealing is done once and kept, so shipping may
-- be repeated: the same number always means the same bytes.
SET LOCAL ROLE windlass_owner;

ALTER TABLE control.audit_outbox ADD COLUMN entry text; -- the bytes that are hashed
CREATE INDEX audit_outbox_unsealed ON control.audit_outbox (tenant, id) WHERE seq IS NULL;
CREATE INDEX audit_outbox_sealed ON control.audit_outbox (tenant, seq) WHERE seq IS NOT NULL;

-- The newest sealed entry of each tenant.
CREATE TABLE control.audit_head (
	tenant int    PRIMARY KEY,
	seq    bigint NOT NULL DEFAULT 0,
	hash   text   NOT NULL DEFAULT ''
);

-- The text of an entry.
CREATE FUNCTION control.audit_text(p_row control.audit_outbox, p_seq bigint) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('seq', p_seq, 'time', to_char(p_row.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
		'user_id', p_row.actor->>'user', 'api_key_id', p_row.actor->>'key', 'ip', coalesce(p_row.actor->>'ip', ''),
		'request_id', coalesce(p_row.actor->>'request_id', ''), 'action', p_row.action,
		'resource_type', p_row.resource_type, 'resource_id', p_row.resource_id, 'metadata', p_row.metadata)::text
$$;

-- Seal what waits of one tenant, up to p_limit entries; how many. The tenant's head is held meanwhile.
CREATE FUNCTION control.audit_seal_tenant(p_tenant int, p_limit int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
	v_head  control.audit_head;
	v_row   control.audit_outbox;
	v_text  text;
	v_hash  text;
	v_count int := 0;
BEGIN
	INSERT INTO control.audit_head (tenant) VALUES (p_tenant) ON CONFLICT DO NOTHING;
	SELECT * INTO v_head FROM control.audit_head WHERE tenant = p_tenant FOR UPDATE SKIP LOCKED;
	IF NOT FOUND THEN
		RETURN 0; -- another scheduler is at it
	END IF;
	FOR v_row IN SELECT * FROM control.audit_outbox WHERE tenant = p_tenant AND seq IS NULL ORDER BY id LIMIT p_limit LOOP
		v_text := control.audit_text(v_row, v_head.seq + 1);
		v_hash := encode(sha256(convert_to(v_head.hash || v_text, 'UTF8')), 'hex');
		UPDATE control.audit_outbox SET seq = v_head.seq + 1, prev = v_head.hash, hash = v_hash, entry = v_text
		WHERE id = v_row.id;
		v_head.seq := v_head.seq + 1;
		v_head.hash := v_hash;
		v_count := v_count + 1;
	END LOOP;
	IF v_count > 0 THEN
		UPDATE control.audit_head SET seq = v_head.seq, hash = v_head.hash WHERE tenant = p_tenant;
	END IF;
	RETURN v_count;
END $$;

-- Seal what waits, {"limit"} entries at most; how many. Its own transaction: what it sealed is committed before anything
-- of it is shipped.
CREATE FUNCTION control.audit_seal(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_left   int := (p_request->>'limit')::int;
	v_tenant int;
	v_sealed int := 0;
	v_one    int;
BEGIN
	FOR v_tenant IN SELECT tenant FROM control.audit_outbox WHERE seq IS NULL GROUP BY tenant ORDER BY min(id) LIMIT 100 LOOP
		v_one := control.audit_seal_tenant(v_tenant, v_left);
		v_sealed := v_sealed + v_one;
		v_left := v_left - v_one;
		EXIT WHEN v_left <= 0;
	END LOOP;
	RETURN to_json(v_sealed);
END $$;

-- Sealed entries that are still here, {"limit"} at most, oldest numbers first.
CREATE FUNCTION control.audit_sealed(p_request json) RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT coalesce(json_agg(json_build_object('id', id, 'tenant', tenant, 'seq', seq, 'prev', prev, 'hash', hash,
	                                           'entry', entry) ORDER BY tenant, seq), '[]')
	FROM (SELECT * FROM control.audit_outbox WHERE seq IS NOT NULL ORDER BY id LIMIT (p_request->>'limit')::int) s
$$;

-- They are kept elsewhere now: {"ids"}.
CREATE FUNCTION control.audit_shipped(p_request json) RETURNS json
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	DELETE FROM control.audit_outbox WHERE id IN (SELECT x::bigint FROM json_array_elements_text(p_request->'ids') x);
	SELECT NULL::json;
$$;
GRANT EXECUTE ON FUNCTION control.audit_seal(json), control.audit_sealed(json), control.audit_shipped(json)
	TO windlass_engine;

-- What a reader of the log must know: the head, and up to which number entries have left for the document server, with
-- the hash that the next one builds on.
CREATE FUNCTION control.my_audit_head() RETURNS TABLE (seq bigint, hash text, shipped_seq bigint, shipped_hash text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT h.seq, h.hash, coalesce(first.seq - 1, h.seq), coalesce(first.prev, h.hash)
	FROM (SELECT coalesce(max(seq), 0) AS seq, coalesce(max(hash), '') AS hash FROM control.audit_head
	      WHERE tenant = control.tenant_of_role()) h
	LEFT JOIN LATERAL (SELECT o.seq, o.prev FROM control.audit_outbox o
	                   WHERE o.tenant = control.tenant_of_role() AND o.seq IS NOT NULL ORDER BY o.seq LIMIT 1) first ON true
$$;
GRANT EXECUTE ON FUNCTION control.my_audit_head() TO windlass_tenant;

-- The three operations read the document server; what PostgreSQL adds is the head.
CREATE FUNCTION api.audit_head_answer() RETURNS api.answer
LANGUAGE sql STABLE AS $$
	SELECT 200, json_build_object('seq', seq, 'hash', hash, 'shipped_seq', shipped_seq, 'shipped_hash', shipped_hash),
	       NULL::text, NULL::text, NULL::json
	FROM control.my_audit_head()
$$;
CREATE FUNCTION api.audit_log_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_params json := p_request->'params';
	v_answer api.answer;
BEGIN
	v_answer := api.audit_head_answer();
	-- in the form that entries have their time in, so that texts can be compared
	v_answer.body := (v_answer.body::jsonb || jsonb_build_object(
		'from', to_char(api.read_time(v_params->>'from', 'from') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
		'to', to_char(api.read_time(v_params->>'to', 'to') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))::json;
	RETURN v_answer;
END $$;
CREATE FUNCTION api.audit_log_export(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM control.audit(p_actor, 'audit.export', 'audit_log', '', json_build_object('after_seq',
		p_request->'params'->'after_seq'));
	RETURN api.audit_head_answer();
END $$;
CREATE FUNCTION api.audit_log_verify(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql STABLE AS $$ SELECT api.audit_head_answer() $$;
