package console

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	_ "image/gif"  // for logos
	_ "image/jpeg" // likewise
	_ "image/png"  // likewise
	"io"
	"os"
)

// Brand is how the operator shows itself. The zero value shows nothing.
type Brand struct {
	Name string
	Logo *Logo // nil: none
}

// Logo is a picture for browsers.
type Logo struct {
	body        []byte
	contentType string
}

const (
	// maxLogo bounds a logo's file, in bytes: it is kept in memory and loaded with every page.
	maxLogo = 256 << 10
	// maxLogoSide bounds a logo's width and height, in pixels.
	maxLogoSide = 4096
	// maxBrandName bounds the operator's name, in bytes.
	maxBrandName = 100
)

// ReadLogo reads a logo from a file: SVG, PNG, JPEG, GIF or WebP, up to 256 KiB. The content counts, not the file's name.
func ReadLogo(path string) (*Logo, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return nil, fmt.Errorf("open logo: %w", err)
	}
	defer func() { _ = f.Close() }()
	body, err := io.ReadAll(io.LimitReader(f, maxLogo+1))
	if err != nil {
		return nil, fmt.Errorf("read logo: %w", err)
	}
	if len(body) > maxLogo {
		return nil, fmt.Errorf("the logo %s is larger than %d KiB", path, maxLogo>>10)
	}
	contentType, err := pictureType(body)
	if err != nil {
		return nil, fmt.Errorf("the logo %s cannot be shown: %w", path, err)
	}
	return &Logo{body: body, contentType: contentType}, nil
}

var errNoPicture = errors.New("it is none of SVG, PNG, JPEG, GIF, WebP")

// pictureType is the content type of a picture that browsers show.
func pictureType(body []byte) (string, error) {
	if len(body) > 12 && string(body[:4]) == "RIFF" && string(body[8:12]) == "WEBP" {
		return "image/webp", nil // which the standard library does not read
	}
	picture, format, err := image.DecodeConfig(bytes.NewReader(body))
	if err == nil {
		if picture.Width > maxLogoSide || picture.Height > maxLogoSide {
			return "", fmt.Errorf("%d × %d pixels are more than %d", picture.Width, picture.Height, maxLogoSide)
		}
		return "image/" + format, nil
	}
	return "image/svg+xml", checkSVG(body)
}

// checkSVG says whether XML is a well-formed drawing. What is in it that would act is left to the browser, which shows pictures of pages
// without scripts and without loading anything: see [Asset.Policy] for who opens the address by itself.
func checkSVG(body []byte) error {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	for root := true; ; {
		token, err := decoder.Token()
		switch {
		case errors.Is(err, io.EOF) && !root:
			return nil
		case err != nil && root:
			return errNoPicture
		case err != nil:
			return fmt.Errorf("the SVG is damaged: %w", err)
		}
		if start, ok := token.(xml.StartElement); ok && root {
			if start.Name.Local != "svg" {
				return errNoPicture
			}
			root = false
		}
	}
}

// CheckBrandName says what is wrong with a name for [Brand].
func CheckBrandName(name string) error {
	if len(name) > maxBrandName {
		return fmt.Errorf("longer than %d bytes", maxBrandName)
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f {
			return errors.New("holds a control character")
		}
	}
	return nil
}
