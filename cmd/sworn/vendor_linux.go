package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/simulator/amd"
	"github.com/sworn-run/sworn/simulator/intel"
)

// vendorFlags are the flags of sworn simulate vendor.
type vendorFlags struct {
	dir, serve, status string
	products           []string
	intel              bool
	interval           time.Duration
	revoke             []string
}

// vendorCommand is sworn simulate vendor.
func (a *app) vendorCommand() *cobra.Command {
	var f vendorFlags
	cmd := &cobra.Command{
		Use:   "vendor --dir DIR [flags]",
		Short: "Make a simulated AMD or Intel, and serve what they publish",
		Long: `Makes simulated vendors of confidential VMs, each with a root of its own (with
SIMULATED in its name), and prints where the roots are. Keys persist in the folder;
without --amd and --intel the vendors are those that it holds. With --serve, answers
as AMD's and Intel's services do (KDS; PCS API version 4) until it is ended.`,
		Example: `  sworn simulate vendor --dir /tmp/vendors --amd Milan --intel
  sworn simulate vendor --dir /tmp/vendors --serve 127.0.0.1:8081`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.simulateVendor(cmd.Context(), &f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.dir, "dir", "", "`DIR` for keys and roots")
	fl.StringArrayVar(&f.products, "amd", nil, "make AMD for `PRODUCT` Milan, Genoa or Turin (repeatable)")
	fl.BoolVar(&f.intel, "intel", false, "make Intel")
	fl.StringVar(&f.serve, "serve", "", "serve on `HOST:PORT` until it is ended")
	fl.DurationVar(&f.interval, "interval", 0, "refuse who asks AMD for certificates more often than every `TIME`, such as 10s")
	fl.StringArrayVar(&f.revoke, "revoke", nil, "have the served lists revoke `NAME`: ask, asvk, platform-ca, processor-ca, tcb-signing (repeatable)")
	fl.StringVar(&f.status, "status", "", "give Intel's platforms this `STATUS` instead of UpToDate")
	choices(cmd, "amd", "Milan", "Genoa", "Turin")
	choices(cmd, "revoke", "ask", "asvk", "platform-ca", "processor-ca", "tcb-signing")
	choices(cmd, "status", intel.UpToDate, intel.OutOfDate, intel.Revoked, "SWHardeningNeeded", "ConfigurationNeeded",
		"ConfigurationAndSWHardeningNeeded", "OutOfDateConfigurationNeeded")
	folder(cmd, "dir")
	return cmd
}

// simulateVendor makes or opens the vendors, prints their roots and serves.
func (a *app) simulateVendor(ctx context.Context, f *vendorFlags) error {
	if f.dir == "" {
		return usage("sworn simulate vendor --dir /tmp/vendors --amd Milan --intel", "no --dir DIR given")
	}
	if f.serve == "" && (f.interval != 0 || len(f.revoke) != 0 || f.status != "") {
		return usage("--serve 127.0.0.1:8081", "--interval, --revoke and --status say how to serve, and --serve is not given")
	}
	kds, pcs, err := f.open(time.Now())
	if err != nil {
		return err
	}
	if err := f.faults(kds, pcs); err != nil {
		return err
	}
	for _, v := range kds.Vendors {
		if _, err := fmt.Fprintf(a.stdout, "amd    %s\n", v.RootFile(f.dir)); err != nil {
			return err
		}
	}
	if pcs.Vendor != nil {
		if _, err := fmt.Fprintf(a.stdout, "intel  %s\n", pcs.Vendor.RootFile(f.dir)); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(a.stdout, "roots  %s\n", filepath.Join(f.dir, "roots")); err != nil {
		return err
	}
	if f.serve == "" {
		return nil
	}
	return a.serveVendors(ctx, f.serve, kds, pcs)
}

// open makes or opens the vendors that are asked for.
func (f *vendorFlags) open(now time.Time) (*amd.KDS, *intel.PCS, error) {
	kds, pcs := &amd.KDS{Interval: f.interval}, &intel.PCS{}
	const hint = "choose a --dir that this user may write, such as /tmp/vendors"
	for _, name := range f.products {
		if !slices.Contains(amd.Products(), amd.Product(name)) {
			return nil, nil, usage("--amd Milan, --amd Genoa or --amd Turin", "--amd %q is no product of AMD's", name)
		}
	}
	asked := len(f.products) != 0 || f.intel
	for _, product := range amd.Products() {
		open := func() (*amd.Vendor, error) { return amd.Load(f.dir, product) }
		if asked {
			if !slices.Contains(f.products, string(product)) {
				continue
			}
			open = func() (*amd.Vendor, error) { return amd.Open(f.dir, product, now) }
		}
		v, err := open()
		switch {
		case err == nil:
			kds.Vendors = append(kds.Vendors, v)
		case asked || !errors.Is(err, fs.ErrNotExist):
			return nil, nil, wrap(err, hint)
		}
	}
	if f.intel || !asked {
		open := func() (*intel.Vendor, error) { return intel.Load(f.dir) }
		if asked {
			open = func() (*intel.Vendor, error) { return intel.Open(f.dir, now) }
		}
		v, err := open()
		if err != nil && (asked || !errors.Is(err, fs.ErrNotExist)) {
			return nil, nil, wrap(err, hint)
		}
		pcs.Vendor = v
	}
	if len(kds.Vendors) == 0 && pcs.Vendor == nil {
		return nil, nil, usage("sworn simulate vendor --dir "+f.dir+" --amd Milan --intel", "which vendors? --dir %s holds none", f.dir)
	}
	return kds, pcs, nil
}

// faults sets what the services shall say of their platforms.
func (f *vendorFlags) faults(kds *amd.KDS, pcs *intel.PCS) error {
	for _, name := range f.revoke {
		var found []*x509.Certificate
		for _, v := range kds.Vendors {
			switch name {
			case "ask":
				found = append(found, v.ASK())
			case "asvk":
				found = append(found, v.ASVK())
			}
		}
		if v := pcs.Vendor; v != nil {
			switch name {
			case "platform-ca":
				found = append(found, v.Issuer(intel.PlatformCA))
			case "processor-ca":
				found = append(found, v.Issuer(intel.ProcessorCA))
			case "tcb-signing":
				found = append(found, v.TCBSigning())
			}
		}
		if len(found) == 0 {
			return usage("--revoke ask, asvk (AMD), platform-ca, processor-ca or tcb-signing (Intel)", "--revoke %q: none of the vendors served has it", name)
		}
		kds.Revoked, pcs.Revoked = append(kds.Revoked, found...), append(pcs.Revoked, found...)
	}
	if f.status != "" {
		pcs.Info = func(i *intel.TCBInfo) { i.Levels[0].Status = f.status }
	}
	return nil
}

// serveVendors serves both services on one address until the context ends.
func (a *app) serveVendors(ctx context.Context, address string, kds *amd.KDS, pcs *intel.PCS) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return wrap(err, "--serve 127.0.0.1:8081, an address of this machine that is free")
	}
	server := &http.Server{Handler: services(kds, pcs), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if _, err := fmt.Fprintf(a.stdout, "serve  http://%s\n", l.Addr()); err != nil {
		return errors.Join(err, l.Close())
	}
	_, _ = fmt.Fprintln(a.stderr, "running; end it with Ctrl-C")
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return wrap(err, noHint)
	}
	return nil
}

// services answers as AMD's service does, and as Intel's.
func services(kds *amd.KDS, pcs *intel.PCS) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/vcek/", kds)
	mux.Handle("/vlek/", kds)
	mux.Handle("/", pcs)
	return mux
}
