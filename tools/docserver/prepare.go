package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
)

// The library's catalogue of a database: one row a collection, naming the table that holds it.
const catalogue = "_ferretdb_database_metadata"

// namespaceExists is MongoDB's error code for a collection that is there already.
const namespaceExists = 48

type collection struct {
	name   string
	fields []string
}

// parseCollection reads "name:field,field".
func parseCollection(text string) (collection, error) {
	name, list, found := strings.Cut(text, ":")
	fields := strings.Split(list, ",")
	if !found || name == "" || list == "" {
		return collection{}, fmt.Errorf("'%s' is not of the form collection:field,field", text)
	}
	for _, field := range fields {
		if field == "" || strings.ContainsAny(field, "'\\.$") {
			return collection{}, fmt.Errorf("'%s': '%s' cannot be indexed", text, field)
		}
	}
	return collection{name: name, fields: fields}, nil
}

func createCollections(ctx context.Context, mongodb, database string, wanted []collection) error {
	client, err := mongo.Connect(ctx, options.Client().ApplyURI(mongodb))
	if err != nil {
		return err
	}
	defer client.Disconnect(ctx)
	for _, one := range wanted {
		err := client.Database(database).CreateCollection(ctx, one.name)
		var refused mongo.CommandError
		if err != nil && !(errors.As(err, &refused) && refused.Code == namespaceExists) {
			return fmt.Errorf("create collection %s: %w", one.name, err)
		}
	}
	// Reading back proves the whole way through, before anything else starts.
	return client.Database(database).RunCommand(ctx, bson.D{{Key: "ping", Value: 1}}).Err()
}

func createIndexes(ctx context.Context, postgres, database string, wanted []collection) error {
	conn, err := pgx.Connect(ctx, postgres)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, one := range wanted {
		var table string
		find := fmt.Sprintf("SELECT _jsonb->>'table' FROM %s WHERE _jsonb->>'_id' = $1",
			pgx.Identifier{database, catalogue}.Sanitize())
		if err := conn.QueryRow(ctx, find, one.name).Scan(&table); err != nil {
			return fmt.Errorf("find the table of collection %s: %w", one.name, err)
		}
		for _, field := range one.fields {
			index := pgx.Identifier{"windlass_" + one.name + "_" + field}.Sanitize()
			// fastupdate off: a reader never has to walk a list of pending entries, which is
			// what keeps a find by _id at a millisecond while results stream in.
			statement := fmt.Sprintf(
				"CREATE INDEX IF NOT EXISTS %s ON %s USING gin ((_jsonb->'%s') jsonb_path_ops) WITH (fastupdate = off)",
				index, pgx.Identifier{database, table}.Sanitize(), field)
			if _, err := conn.Exec(ctx, statement); err != nil {
				return fmt.Errorf("index %s.%s: %w", one.name, field, err)
			}
		}
	}
	return nil
}

// databaseOf returns the path of a MongoDB URL, or nothing. A socket's path stands percent-encoded in the
// place of the host, which net/url refuses, so the few characters are cut out here.
func databaseOf(mongodb string) string {
	rest, found := strings.CutPrefix(mongodb, "mongodb://")
	if !found {
		return ""
	}
	rest, _, _ = strings.Cut(rest, "?")
	_, database, _ := strings.Cut(rest, "/")
	return database
}

func prepare(arguments []string) error {
	flags := flag.NewFlagSet("prepare", flag.ExitOnError)
	mongodb := flags.String("mongodb", "", "URL of the document server, with the database as its path")
	postgres := flags.String("postgres", os.Getenv(documentsURL), "URL of the PostgreSQL database that holds the documents")
	flags.Parse(arguments)

	database := databaseOf(*mongodb)
	if database == "" {
		return errors.New("--mongodb must be a URL like mongodb://host:port/database")
	}
	wanted := make([]collection, 0, flags.NArg())
	for _, text := range flags.Args() {
		one, err := parseCollection(text)
		if err != nil {
			return err
		}
		wanted = append(wanted, one)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := createCollections(ctx, *mongodb, database, wanted); err != nil {
		return err
	}
	return createIndexes(ctx, *postgres, database, wanted)
}
