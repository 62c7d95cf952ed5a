//go:build race

package main

// raced tells that the race detector is on, which takes address space by the terabyte.
const raced = true
