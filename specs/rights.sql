-- What a tenant's role may do outside its own schema: next to nothing. PostgreSQL lets everybody call set_config(),
-- take advisory locks, make large objects, write to the log of changes and look at statistics of all tables; a statement
-- that somebody smuggled into a tenant's transaction could use that to become another tenant's role, to hold up the
-- others or to look at them. See docs/decisions/0015-no-way-from-one-tenant-to-another.md.
--
-- Run by whoever migrates, each time, in one transaction: a new major version of PostgreSQL brings new functions. Those
-- of pg_catalog belong to a superuser, so nobody else can close them. The rows at the end say in words what is open.
SET LOCAL client_min_messages = error;

-- Functions of pg_catalog that no tenant's role has any business with: whatever has an effect or looks past one's rights
-- is marked volatile, with few exceptions; the few that transactions need are left, since sequences check rights
-- themselves. Functions with internal arguments cannot be called by SQL.
DO $$
DECLARE
	v       record;
	v_names text[] := '{}';
BEGIN
	FOR v IN
		SELECT format('pg_catalog.%I(%s)', p.proname, oidvectortypes(p.proargtypes)) AS name,
		       p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0) AS open
		FROM pg_proc p
		WHERE p.pronamespace = 'pg_catalog'::regnamespace AND NOT 'internal'::regtype = ANY (p.proargtypes::oid[])
		  AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
		  AND (p.provolatile = 'v' OR p.prokind = 'p'
		       OR p.proname ~ '^(pg_stat_get_|table_to_xml|schema_to_xml|database_to_xml)')
		  AND p.proname NOT IN ('random', 'random_normal', 'clock_timestamp', 'timeofday', 'gen_random_uuid', 'nextval',
		                        'currval', 'lastval')
		ORDER BY p.proname <> 'set_config', 1
	LOOP
		v_names := v_names || v.name;
		CONTINUE WHEN NOT v.open;
		-- those who look after the server keep what they had, and so do dumps, which call set_config()
		EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO pg_database_owner, pg_monitor', v.name);
		EXECUTE format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC', v.name);
	END LOOP;
	PERFORM set_config('windlass.closed', v_names::text, true);
END $$;
GRANT EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean), pg_catalog.pg_is_in_recovery()
	TO windlass_web, windlass_engine;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_lock(int, int), pg_catalog.pg_advisory_unlock(int, int)
	TO windlass_engine;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_xact_lock(int, int), pg_catalog.pg_advisory_xact_lock(bigint),
	pg_catalog.pg_advisory_xact_lock_shared(int, int) TO windlass_owner;

-- Writing to pg_settings calls set_config(); pg_class tells how many rows the tables of others have.
REVOKE UPDATE ON pg_catalog.pg_settings FROM PUBLIC;
GRANT SELECT ON pg_catalog.pg_class TO pg_database_owner, pg_monitor, windlass_owner, windlass_web, windlass_engine;
REVOKE SELECT ON pg_catalog.pg_class FROM PUBLIC;
-- Nobody writes functions or blocks of code here but the owner.
GRANT USAGE ON LANGUAGE sql, plpgsql TO pg_database_owner, windlass_owner;
REVOKE USAGE ON LANGUAGE sql, plpgsql FROM PUBLIC;
DO $$
BEGIN
	IF to_regnamespace('public') IS NOT NULL THEN
		REVOKE CREATE ON SCHEMA public FROM PUBLIC;
	END IF;
END $$;

-- ---- what is open all the same ------------------------------------------------------------------------------------
SELECT what FROM (
	SELECT 1, format('tenants'' roles may call %s functions that are none of their business, such as %s: have a superuser '
	       'migrate once', count(*), (array_agg(c.name))[1])
	FROM unnest(current_setting('windlass.closed')::text[]) c(name)
	WHERE has_function_privilege('windlass_tenant', c.name, 'EXECUTE') HAVING count(*) > 0
	UNION ALL
	SELECT 2, 'tenants'' roles may write to pg_settings, read pg_class or write functions: have a superuser migrate once'
	WHERE has_table_privilege('windlass_tenant', 'pg_catalog.pg_settings', 'UPDATE')
	   OR has_table_privilege('windlass_tenant', 'pg_catalog.pg_class', 'SELECT')
	   OR has_language_privilege('windlass_tenant', 'plpgsql', 'USAGE')
	UNION ALL
	SELECT 3, format('tenants'' roles may make objects in the schema %s: have its owner REVOKE CREATE ON SCHEMA %1$I FROM '
	       'PUBLIC', nspname)
	FROM pg_namespace WHERE has_schema_privilege('windlass_tenant', oid, 'CREATE')
	UNION ALL
	SELECT 4, format('tenants'' roles may call %s functions of the schema %s, which is no part of Windlass: give Windlass '
	       'a database of its own, or REVOKE USAGE ON SCHEMA %2$I FROM PUBLIC', count(*), n.nspname)
	FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
	WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'control', 'api')
	  AND has_schema_privilege('windlass_tenant', n.oid, 'USAGE') AND has_function_privilege('windlass_tenant', p.oid, 'EXECUTE')
	GROUP BY n.nspname) AS doors (place, what) ORDER BY place, what;
