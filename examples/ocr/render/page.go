package main

import (
	"fmt"
	"math/bits"
)

// Measures of a page. A pixel is unitsPerPixel font units wide and high, which
// makes a capital 44 pixels tall.
const (
	unitsPerPixel = 16
	penRadius     = 44   // Font units.
	margin        = 96   // Pixels on each side.
	lineHeight    = 84   // Pixels from one baseline to the next.
	letterSpacing = 22   // Font units after every character.
	maxPagePixels = 4096 // Limit of width and height.
	samples       = 4    // Sample points per pixel in each direction.
)

// canvas holds, for each pixel, one bit for each of its 16 sample points: set
// where ink is.
type canvas struct {
	width, height int
	ink           []uint16
}

// drawPage draws lines of text, black on white, and returns one byte per
// pixel, row by row: 0 is black, 255 is white.
func drawPage(lines []string) (width, height int, pixels []byte, err error) {
	rows := make([][]segment, len(lines))
	widest := 0
	for i, line := range lines {
		baseline := margin + capHeight/unitsPerPixel + i*lineHeight
		segments, end, err := layoutLine(line, baseline)
		if err != nil {
			return 0, 0, nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		rows[i] = segments
		widest = max(widest, end)
	}
	c := canvas{
		width:  widest/unitsPerPixel + 1 + margin,
		height: 2*margin + (capHeight+descender)/unitsPerPixel + max(len(lines)-1, 0)*lineHeight,
	}
	if c.width > maxPagePixels || c.height > maxPagePixels {
		return 0, 0, nil, fmt.Errorf("%w: page of %d x %d pixels, at most %d", errText, c.width, c.height, maxPagePixels)
	}
	c.ink = make([]uint16, c.width*c.height)
	for _, row := range rows {
		for _, s := range row {
			c.stroke(s)
		}
	}
	return c.width, c.height, c.gray(), nil
}

// layoutLine places the glyphs of text from the left margin onwards. The
// segments returned are in page units: unitsPerPixel to the pixel, y growing
// downwards.
func layoutLine(text string, baseline int) (out []segment, end int, err error) {
	x := margin * unitsPerPixel
	y := baseline * unitsPerPixel
	for _, r := range text {
		g, err := loadGlyph(r)
		if err != nil {
			return nil, 0, err
		}
		for _, s := range g.segments {
			out = append(out, segment{
				a: point{x + s.a.x, y - s.a.y},
				b: point{x + s.b.x, y - s.b.y},
			})
		}
		x += g.advance + letterSpacing
	}
	return out, x, nil
}

// stroke inks every sample point that is at most penRadius away from s.
func (c *canvas) stroke(s segment) {
	x0 := max((min(s.a.x, s.b.x)-penRadius)/unitsPerPixel, 0)
	x1 := min((max(s.a.x, s.b.x)+penRadius)/unitsPerPixel, c.width-1)
	y0 := max((min(s.a.y, s.b.y)-penRadius)/unitsPerPixel, 0)
	y1 := min((max(s.a.y, s.b.y)+penRadius)/unitsPerPixel, c.height-1)
	for y := y0; y <= y1; y++ {
		for x := x0; x <= x1; x++ {
			c.ink[y*c.width+x] |= samplesNear(s, x, y)
		}
	}
}

// samplesNear returns the sample points of pixel x, y that the pen covers on
// its way along s.
func samplesNear(s segment, x, y int) uint16 {
	const step = unitsPerPixel / samples
	var mask uint16
	for j := range samples {
		for i := range samples {
			p := point{x*unitsPerPixel + step/2 + i*step, y*unitsPerPixel + step/2 + j*step}
			if near(s, p) {
				mask |= 1 << (j*samples + i)
			}
		}
	}
	return mask
}

// near reports whether p is at most penRadius away from s, exactly.
func near(s segment, p point) bool {
	dx, dy := s.b.x-s.a.x, s.b.y-s.a.y
	px, py := p.x-s.a.x, p.y-s.a.y
	length := dx*dx + dy*dy
	along := px*dx + py*dy
	const r2 = penRadius * penRadius
	switch {
	case along <= 0:
		return px*px+py*py <= r2
	case along >= length:
		qx, qy := p.x-s.b.x, p.y-s.b.y
		return qx*qx+qy*qy <= r2
	}
	across := px*dy - py*dx
	return across*across <= r2*length
}

// gray turns the ink of each pixel into its brightness.
func (c *canvas) gray() []byte {
	out := make([]byte, len(c.ink))
	for i, mask := range c.ink {
		out[i] = byte(255 - bits.OnesCount16(mask)*255/(samples*samples))
	}
	return out
}
