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
-- by role.
CREATE FUNCTION api.need_execution(p_actor json, p_eid uuid, p_access text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_flow  uuid;
	v_known boolean;
BEGIN
	SELECT e.flow_id, EXISTS (SELECT FROM flows f WHERE f.id = e.flow_id) INTO v_flow, v_known
	FROM executions e WHERE e.id = p_eid;
	PERFORM api.check_access(CASE WHEN v_flow IS NULL THEN 'none' WHEN v_known THEN api.flow_access(p_actor, v_flow)
	                              ELSE 'edit' END, p_access, 'execution');
END $$;
