-- The kernel's own peak beside what a sweep saw: sampling misses short bursts.

ALTER TABLE readings ADD COLUMN kernel_peak_bytes INTEGER;
