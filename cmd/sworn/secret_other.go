//go:build !linux

package main

import (
	"context"
	"errors"
)

// errNoPrompt: nothing is asked here.
var errNoPrompt = errors.New("nothing is asked at a terminal on this system")

// askSecret reads a line from the terminal without showing it: on Linux alone.
func askSecret(context.Context, string) ([]byte, error) { return nil, errNoPrompt }
