package main

import (
	_ "github.com/FerretDB/FerretDB/ferretdb"
	_ "github.com/jackc/pgx/v5"
	_ "go.mongodb.org/mongo-driver/mongo"
)

func main() {}
