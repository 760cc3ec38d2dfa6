// Command windlass-s3server is the S3 server of the tests: versitygw's server and its folder backend, without the
// other backends and services of that project, which would triple its build.
//
//	windlass-s3server --listen HOST:PORT FOLDER
//
// Its one account comes from ROOT_ACCESS_KEY and ROOT_SECRET_KEY. Buckets are the folders in FOLDER.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
)

const region = "us-east-1"

func serve(ctx context.Context, address, folder string) error {
	account := auth.Account{
		Access: os.Getenv("ROOT_ACCESS_KEY"),
		Secret: os.Getenv("ROOT_SECRET_KEY"),
		Role:   auth.RoleAdmin,
	}
	if account.Access == "" || account.Secret == "" {
		return fmt.Errorf("set ROOT_ACCESS_KEY and ROOT_SECRET_KEY")
	}
	// Extended attributes are not there on every file system: etags are computed from nothing and stay empty.
	backend, err := posix.New(folder, meta.NoMeta{}, posix.PosixOpts{})
	if err != nil {
		return err
	}
	server, err := s3api.New(backend, middlewares.RootUserConfig{Access: account.Access, Secret: account.Secret},
		region, auth.NewIAMServiceSingle(account), nil, nil, nil, nil,
		s3api.WithQuiet(), s3api.WithKeepAlive(), s3api.WithConcurrencyLimiter(1000, 500))
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- server.ServeMultiPort([]string{address}) }()
	select {
	case err = <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "address and port")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: windlass-s3server --listen HOST:PORT FOLDER")
		os.Exit(64)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serve(ctx, *address, flag.Arg(0)); err != nil {
		fmt.Fprintf(os.Stderr, "windlass-s3server: %v\n", err)
		os.Exit(1)
	}
}
