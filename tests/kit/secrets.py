"""Looking for a secret wherever one could have been left lying."""

import pymongo
import redis


def places_of(stack, secret):
    """Names of log files, tables, collections and Redis keys in which the text stands (short ones, which Redis does not pack)."""
    found = [path.name for path in (stack.home / "log").rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    tables = stack.sql("SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables "
                       "WHERE schemaname = 'control' OR schemaname ~ '^t_[0-9]+$'")
    with stack.postgres() as connection:   # one for all: a stack that has run for long has thousands of tables
        found += [name for (name,) in tables if connection.execute(
            f"SELECT EXISTS (SELECT FROM {name} t WHERE position(%s IN t::text) > 0)", (secret,)).fetchone()[0]]
    with pymongo.MongoClient(stack.urls["mongodb"], serverSelectionTimeoutMS=5000) as client:
        database = client.get_default_database("windlass")
        found += [name for name in database.list_collection_names() if any(secret in str(one) for one in database[name].find())]
    with redis.Redis.from_url(stack.urls["redis"]) as server:
        found += [key.decode() for key in server.scan_iter() if secret.encode() in (server.dump(key) or b"")]
    return found
