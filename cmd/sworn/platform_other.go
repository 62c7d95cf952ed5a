//go:build !linux

package main

import "github.com/spf13/cobra"

// maybeInit does nothing where jobs cannot be launched.
func maybeInit() {}

// addPlatform adds nothing: launching and devices need Linux.
func (a *app) addPlatform(*cobra.Command) {}

// addPolicyPlatform adds nothing.
func (a *app) addPolicyPlatform(*cobra.Command) {}

// platformHint knows no errors of its own.
func platformHint(error) string { return "" }
