package browser

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// View is how a page is looked at.
type View struct {
	// Width and Height are the window's, in CSS pixels.
	Width, Height int
	// Scale is the number of pixels of a screenshot for each of these; zero stands for 1.
	Scale float64
	// Mobile lays the page out as a phone does.
	Mobile bool
	// Dark asks for dark colours, Print for how it is printed.
	Dark, Print bool
}

// Page is an open document.
type Page struct {
	b       *Browser
	session string
	target  string
	url     string
}

// Open opens an address and waits until all of it is there.
func (b *Browser) Open(ctx context.Context, url string, v View) (*Page, error) {
	p := &Page{b: b, url: url}
	var target struct {
		ID string `json:"targetId"`
	}
	if err := b.into(ctx, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		return nil, err
	}
	p.target = target.ID
	var session struct {
		ID string `json:"sessionId"`
	}
	if err := b.into(ctx, "", "Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &session); err != nil {
		return nil, err
	}
	p.session = session.ID
	for _, domain := range []string{"Page", "Network", "Log", "Runtime"} {
		if _, err := p.call(ctx, domain+".enable", nil); err != nil {
			return nil, err
		}
	}
	if err := p.Look(ctx, v); err != nil {
		return nil, err
	}
	if _, err := p.call(ctx, "Page.navigate", map[string]any{"url": url}); err != nil {
		return nil, err
	}
	for {
		var state string
		if err := p.Eval(ctx, `document.readyState + " " + location.href`, &state); err == nil && strings.HasPrefix(state, "complete ") && !strings.HasSuffix(state, " about:blank") {
			return p, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: opening %s: %w", ErrBrowser, url, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Look changes how the page is looked at.
func (p *Page) Look(ctx context.Context, v View) error {
	if v.Scale == 0 {
		v.Scale = 1
	}
	if _, err := p.call(ctx, "Emulation.setDeviceMetricsOverride", map[string]any{
		"width": v.Width, "height": v.Height, "deviceScaleFactor": v.Scale, "mobile": v.Mobile,
	}); err != nil {
		return err
	}
	scheme, media := "light", ""
	if v.Dark {
		scheme = "dark"
	}
	if v.Print {
		media = "print"
	}
	_, err := p.call(ctx, "Emulation.setEmulatedMedia", map[string]any{
		"media": media, "features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}},
	})
	return err
}

// Close closes the page.
func (p *Page) Close(ctx context.Context) error {
	_, err := p.b.call(ctx, "", "Target.closeTarget", map[string]any{"targetId": p.target})
	return err
}

// Eval evaluates JavaScript as the browser's own console does, whatever the page allows
// itself, and decodes its value.
func (p *Page) Eval(ctx context.Context, expression string, into any) error {
	var out struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text string `json:"text"`
		} `json:"exceptionDetails"`
	}
	if err := p.into(ctx, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &out); err != nil {
		return err
	}
	if out.Exception != nil {
		return fmt.Errorf("%w: %s: %s", ErrBrowser, expression, out.Exception.Text)
	}
	if err := json.Unmarshal(out.Result.Value, into); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrBrowser, expression, err)
	}
	return nil
}

// Text returns the page's text as it is shown.
func (p *Page) Text(ctx context.Context) (string, error) {
	var s string
	err := p.Eval(ctx, "document.body.innerText", &s)
	return s, err
}

// Size returns how wide and high the whole page is, in CSS pixels.
func (p *Page) Size(ctx context.Context) (width, height int, err error) {
	var n []int
	if err := p.Eval(ctx, "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]", &n); err != nil || len(n) != 2 {
		return 0, 0, err
	}
	return n[0], n[1], nil
}

// Screenshot returns the whole width of the page as PNG, from one height to another in
// CSS pixels; to the end where to is 0.
func (p *Page) Screenshot(ctx context.Context, from, to int) ([]byte, error) {
	width, height, err := p.Size(ctx)
	if err != nil {
		return nil, err
	}
	if to == 0 || to > height {
		to = height
	}
	return p.data(ctx, "Page.captureScreenshot", map[string]any{
		"format": "png", "captureBeyondViewport": true,
		"clip": map[string]any{"x": 0, "y": from, "width": width, "height": to - from, "scale": 1},
	})
}

// PDF returns the page as it is printed, on the paper that it asks for.
func (p *Page) PDF(ctx context.Context) ([]byte, error) {
	return p.data(ctx, "Page.printToPDF", map[string]any{"preferCSSPageSize": true, "printBackground": true})
}

// data calls a method whose result is base64.
func (p *Page) data(ctx context.Context, method string, params any) ([]byte, error) {
	var out struct {
		Data string `json:"data"`
	}
	if err := p.into(ctx, method, params, &out); err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.DecodeString(out.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBrowser, method, err)
	}
	return b, nil
}

// Requests returns the addresses that the page asked for so far, its own apart.
func (p *Page) Requests() []string {
	var out []string
	for _, m := range p.b.seen(p.session) {
		var e struct {
			Request struct {
				URL string `json:"url"`
			} `json:"request"`
		}
		if m.Method != "Network.requestWillBeSent" || json.Unmarshal(m.Params, &e) != nil || e.Request.URL == p.url {
			continue
		}
		out = append(out, e.Request.URL)
	}
	return out
}

// Complaints returns what the browser logged so far: refusals of the page's policy,
// errors, whatever the page wrote to the console.
func (p *Page) Complaints() []string {
	var out []string
	for _, m := range p.b.seen(p.session) {
		switch m.Method {
		case "Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown":
			out = append(out, string(m.Params))
		}
	}
	return out
}

func (p *Page) call(ctx context.Context, method string, params any) (json.RawMessage, error) {
	return p.b.call(ctx, p.session, method, params)
}

func (p *Page) into(ctx context.Context, method string, params, out any) error {
	return p.b.into(ctx, p.session, method, params, out)
}

// into calls a method and decodes its result.
func (b *Browser) into(ctx context.Context, session, method string, params, out any) error {
	raw, err := b.call(ctx, session, method, params)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrBrowser, method, err)
	}
	return nil
}
