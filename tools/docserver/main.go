// Command windlass-docserver is the document server of `make run` when no MongoDB is given: the MongoDB
// wire protocol over the private PostgreSQL, by FerretDB's library.
//
//	windlass-docserver serve   --unix PATH | --listen HOST:PORT  [--postgres URL]
//	windlass-docserver prepare --mongodb URL [--postgres URL]  node_results:_id,e,t ...
//
// Without --postgres the URL comes from WINDLASS_DOCUMENTS_URL: it holds a password, and other users of the
// host can read the arguments of a process but not its environment.
//
// serve runs until SIGTERM or SIGINT. prepare creates the collections that are named, and indexes for
// the fields that Windlass filters on; it may be repeated.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
)

// After a stop signal open connections get this long to end; then the process ends anyway, so that
// taking a stack down never waits on an idle client.
const drainTime = time.Second

// documentsURL is the variable that names the PostgreSQL database.
const documentsURL = "WINDLASS_DOCUMENTS_URL"

// withPlanMode adds the setting without which each filter scans its whole table: the library sends the
// filtered field as a parameter, and only a plan made for its value can use an index on that field.
func withPlanMode(postgres string) (string, error) {
	parsed, err := url.Parse(postgres)
	if err != nil || (parsed.Scheme != "postgres" && parsed.Scheme != "postgresql") {
		return "", errors.New("--postgres must be a URL like postgresql://user:password@host:port/database")
	}
	query := parsed.Query()
	query.Set("plan_cache_mode", "force_custom_plan")
	parsed.RawQuery = query.Encode()
	return parsed.String(), nil
}

// listen builds the listener's part of the configuration; exactly one of the two must be given.
func listen(unixPath, address string) (ferretdb.ListenerConfig, error) {
	if (unixPath == "") == (address == "") {
		return ferretdb.ListenerConfig{}, errors.New("give either --unix PATH or --listen HOST:PORT")
	}
	if unixPath == "" {
		return ferretdb.ListenerConfig{TCP: address}, nil
	}
	// A socket file that a killed process left behind would make the address look taken. The stack
	// runner holds the lock of the state folder, so nobody else can be listening here.
	if info, err := os.Lstat(unixPath); err == nil && info.Mode().Type() == os.ModeSocket {
		if err := os.Remove(unixPath); err != nil {
			return ferretdb.ListenerConfig{}, err
		}
	}
	return ferretdb.ListenerConfig{Unix: unixPath}, nil
}

func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	unixPath := flags.String("unix", "", "unix socket to listen on")
	address := flags.String("listen", "", "TCP address to listen on")
	postgres := flags.String("postgres", os.Getenv(documentsURL), "URL of the PostgreSQL database that holds the documents")
	flags.Parse(arguments)

	listener, err := listen(*unixPath, *address)
	if err != nil {
		return err
	}
	database, err := withPlanMode(*postgres)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server, err := ferretdb.New(&ferretdb.Config{
		Listener: listener, Handler: "postgresql", PostgreSQLURL: database, Logger: logger,
	})
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	select {
	case err := <-done:
		if ctx.Err() == nil && err == nil {
			err = errors.New("the listener ended by itself")
		}
		return err
	case <-ctx.Done():
	}
	select {
	case <-done:
	case <-time.After(drainTime):
	}
	return nil
}

func main() {
	commands := map[string]func([]string) error{"serve": serve, "prepare": prepare}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: windlass-docserver serve|prepare --help")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "windlass-docserver:", err)
		os.Exit(1)
	}
}
