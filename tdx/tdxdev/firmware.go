package tdxdev

import "context"

// FirmwareLog is [Device.EventLog], under the name that a launcher asks for.
func (d *Device) FirmwareLog(ctx context.Context) ([]byte, error) { return d.EventLog(ctx) }
