// Package avatar makes profile pictures of pictures: a square JPEG of a size that WhatsApp takes.
//
// What it is given may come from a stranger: a picture's size is looked at before its pixels are decoded, and few pictures are
// decoded at once, since each takes some ten megabytes.
package avatar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	_ "image/png" // a format that Decode knows

	"golang.org/x/sync/semaphore"
)

// Errors of [Maker.Make].
var (
	// ErrFormat says that a file is neither a JPEG nor a PNG, or is damaged.
	ErrFormat = errors.New("not a JPEG or PNG picture")
	// ErrDimensions says that a picture has too many pixels, or too few.
	ErrDimensions = errors.New("the picture has too many pixels, or too few")
)

const (
	// Side is the most pixels of a side of what is made. WhatsApp shows no more.
	Side = 640
	// MaxFile is the largest file that is looked at.
	MaxFile = 8 << 20
	// MinSide and maxPixels bound what is decoded: 24 megapixels are what phones take.
	MinSide   = 48
	maxPixels = 24_000_000

	quality  = 85
	parallel = 2 // pictures decoded at once
)

// Maker makes profile pictures, a few at a time. Safe for concurrent use; the zero value is not ready.
type Maker struct{ slots *semaphore.Weighted }

// New makes a maker.
func New() *Maker { return &Maker{slots: semaphore.NewWeighted(parallel)} }

// Make makes the profile picture of a JPEG or PNG file: the middle of it, upright, on white where it is transparent. Returns
// ErrFormat, ErrDimensions, or the context's error.
func (m *Maker) Make(ctx context.Context, file []byte) ([]byte, error) {
	if len(file) > MaxFile {
		return nil, ErrDimensions
	}
	cfg, kind, err := image.DecodeConfig(bytes.NewReader(file))
	if err != nil || kind != "jpeg" && kind != "png" {
		return nil, ErrFormat
	}
	if cfg.Width < MinSide || cfg.Height < MinSide || cfg.Width > maxPixels/cfg.Height {
		return nil, ErrDimensions
	}
	if err = m.slots.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("wait to decode: %w", err)
	}
	defer m.slots.Release(1)
	picture, _, err := image.Decode(bytes.NewReader(file))
	if err != nil || picture.Bounds().Dx() < MinSide || picture.Bounds().Dy() < MinSide {
		return nil, ErrFormat
	}
	var out bytes.Buffer
	if err = jpeg.Encode(&out, turned(shrink(picture), orientation(file)), &jpeg.Options{Quality: quality}); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return out.Bytes(), nil
}

// shrink takes the middle square of a picture and makes it no larger than Side, on white: each pixel is the mean of those that it
// stands for. It goes row by row, so that it needs no second copy of a large picture.
func shrink(picture image.Image) *image.RGBA {
	b := picture.Bounds()
	crop := min(b.Dx(), b.Dy())
	left, top := b.Min.X+(b.Dx()-crop)/2, b.Min.Y+(b.Dy()-crop)/2
	side := min(crop, Side)
	small := image.NewRGBA(image.Rect(0, 0, side, side))
	row := image.NewRGBA(image.Rect(0, 0, crop, 1))
	sums := make([]uint64, 3*side)
	at := func(i int) int { return i * crop / side }
	for y := range side {
		clear(sums)
		for from := at(y); from < at(y+1); from++ {
			draw.Draw(row, row.Rect, image.White, image.Point{}, draw.Src)
			draw.Draw(row, row.Rect, picture, image.Pt(left, top+from), draw.Over)
			for x := range side {
				for _, i := range []int{0, 1, 2} {
					for pixel := at(x); pixel < at(x+1); pixel++ {
						sums[3*x+i] += uint64(row.Pix[4*pixel+i])
					}
				}
			}
		}
		for x := range side {
			n := uint64((at(y+1) - at(y)) * (at(x+1) - at(x)))          //nolint:gosec // both are positive: side is at most crop
			mean := func(i int) uint8 { return uint8(sums[3*x+i] / n) } //nolint:gosec // a mean of bytes
			small.SetRGBA(x, y, color.RGBA{mean(0), mean(1), mean(2), 0xff})
		}
	}
	return small
}

// turned is a square as its camera was held.
func turned(square *image.RGBA, orientation int) *image.RGBA {
	if orientation < 2 || orientation > 8 {
		return square
	}
	last := square.Rect.Dx() - 1
	out := image.NewRGBA(square.Rect)
	for y := range last + 1 {
		for x := range last + 1 {
			fromX, fromY := x, y
			switch orientation { // Exif 2.3, tag 0x0112: which corner of the scene the first row and column are
			case 2:
				fromX = last - x
			case 3:
				fromX, fromY = last-x, last-y
			case 4:
				fromY = last - y
			case 5:
				fromX, fromY = y, x
			case 6:
				fromX, fromY = y, last-x
			case 7:
				fromX, fromY = last-y, last-x
			case 8:
				fromX, fromY = last-y, x
			}
			out.SetRGBA(x, y, square.RGBAAt(fromX, fromY))
		}
	}
	return out
}
