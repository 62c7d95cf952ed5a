module github.com/sworn-run/sworn/tools/nexart

go 1.26

require github.com/sworn-run/sworn v0.0.0

require (
	github.com/go-json-experiment/json v0.0.0-20260820222146-c27c302e5fc3 // indirect
	github.com/transparency-dev/merkle v0.0.2 // indirect
)

replace github.com/sworn-run/sworn => ../..
