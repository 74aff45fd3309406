//! Trigonometry in degrees, which is exact at the round angles: every value is taken from the first quadrant, and there in
//! proportion to that of 30, 45 or 60 degrees as the machine computes it.

use super::float::{RADIANS_PER_DEGREE, out_of_domain};
use crate::error::Result;

pub(super) fn sind(angle: f64) -> Result<f64> {
    let Quadrant { angle, sine, .. } = quadrant(angle)?;
    Ok(sine * sine_in_quadrant(angle))
}

pub(super) fn cosd(angle: f64) -> Result<f64> {
    let Quadrant { angle, cosine, .. } = quadrant(angle)?;
    Ok(cosine * cosine_in_quadrant(angle))
}

pub(super) fn tand(angle: f64) -> Result<f64> {
    let Quadrant { angle, sine, cosine } = quadrant(angle)?;
    let tangent = |angle: f64| sine_in_quadrant(angle) / cosine_in_quadrant(angle);
    // There is no minus zero among the results.
    Ok(sine * cosine * (tangent(angle) / tangent(45.0)) + 0.0)
}

pub(super) fn cotd(angle: f64) -> Result<f64> {
    let Quadrant { angle, sine, cosine } = quadrant(angle)?;
    let cotangent = |angle: f64| cosine_in_quadrant(angle) / sine_in_quadrant(angle);
    Ok(sine * cosine * (cotangent(angle) / cotangent(45.0)) + 0.0)
}

pub(super) fn asind(value: f64) -> f64 {
    if value >= 0.0 { inverse_sine(value) } else { -inverse_sine(-value) }
}

pub(super) fn acosd(value: f64) -> f64 {
    match value {
        value if value < 0.0 => 90.0 + inverse_sine(-value),
        value if value <= 0.5 => 90.0 - value.asin() / 0.5_f64.asin() * 30.0,
        value => value.acos() / 0.5_f64.acos() * 60.0,
    }
}

pub(super) fn atand(value: f64) -> f64 {
    value.atan() / 1.0_f64.atan() * 45.0
}

pub(super) fn atan2d(y: f64, x: f64) -> f64 {
    y.atan2(x) / 1.0_f64.atan() * 45.0
}

/// The angle of the first quadrant with the same sine and cosine but for their signs.
struct Quadrant {
    angle: f64,
    sine: f64,
    cosine: f64,
}

fn quadrant(angle: f64) -> Result<Quadrant> {
    if angle.is_infinite() {
        return Err(out_of_domain());
    }
    let mut quadrant = Quadrant { angle: angle % 360.0, sine: 1.0, cosine: 1.0 };
    if quadrant.angle < 0.0 {
        quadrant = Quadrant { angle: -quadrant.angle, sine: -1.0, cosine: 1.0 };
    }
    if quadrant.angle > 180.0 {
        quadrant = Quadrant { angle: 360.0 - quadrant.angle, sine: -quadrant.sine, ..quadrant };
    }
    if quadrant.angle > 90.0 {
        quadrant = Quadrant { angle: 180.0 - quadrant.angle, cosine: -1.0, ..quadrant };
    }
    Ok(quadrant)
}

fn sine_in_quadrant(angle: f64) -> f64 {
    if angle <= 30.0 { sine_to_30(angle) } else { cosine_to_60(90.0 - angle) }
}

fn cosine_in_quadrant(angle: f64) -> f64 {
    if angle <= 60.0 { cosine_to_60(angle) } else { sine_to_30(90.0 - angle) }
}

fn sine_to_30(angle: f64) -> f64 {
    let sine = |angle: f64| (angle * RADIANS_PER_DEGREE).sin();
    sine(angle) / sine(30.0) / 2.0
}

fn cosine_to_60(angle: f64) -> f64 {
    let missing = |angle: f64| 1.0 - (angle * RADIANS_PER_DEGREE).cos();
    1.0 - missing(angle) / missing(60.0) / 2.0
}

fn inverse_sine(value: f64) -> f64 {
    if value <= 0.5 { value.asin() / 0.5_f64.asin() * 30.0 } else { 90.0 - value.acos() / 0.5_f64.acos() * 60.0 }
}

#[cfg(test)]
mod tests {
    use super::{acosd, asind, cosd, sind, tand};

    #[test]
    #[expect(clippy::float_cmp, reason = "they are exact")]
    fn round_angles() {
        let check = |result: f64, expected: f64| assert_eq!(result, expected);
        check(sind(30.0).unwrap(), 0.5);
        check(sind(-150.0).unwrap(), -0.5);
        check(cosd(420.0).unwrap(), 0.5);
        check(tand(135.0).unwrap(), -1.0);
        check(tand(90.0).unwrap(), f64::INFINITY);
        check(asind(0.5), 30.0);
        check(acosd(-0.5), 120.0);
    }
}
