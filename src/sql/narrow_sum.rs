//! Sums of numerics that need 256 bits by their type, and by their values hardly ever do.
//!
//! Owns: [`Narrow`], which adds in 128 bits for as long as nothing can have overflowed: while the number of values times the largest
//! of them is below 2^127. Past that it moves what it has into 256 bits, and begins anew.
//! Must not know: which function asks.

use std::{fmt, mem::size_of};

use arrow::{
    array::{ArrayRef, AsArray},
    compute::cast,
    datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type},
};
use datafusion::{
    common::{Result, ScalarValue, internal_datafusion_err},
    logical_expr::Accumulator,
};

/// Makes an accumulator that sums in the type that it is given.
type Make = fn(&DataType) -> Result<Box<dyn Accumulator>>;

/// Sums decimals of 128 bits to one of 256.
pub(super) struct Narrow {
    make: Make,
    wide_type: DataType,
    narrow_type: DataType,
    narrow: Box<dyn Accumulator>,
    /// What no longer fits, once there is any, and what others have summed.
    wide: Option<Box<dyn Accumulator>>,
    bound: Bound,
}

/// What has been added since the beginning, at most.
#[derive(Clone, Copy, Debug, Default)]
struct Bound {
    values: u128,
    largest: u128,
}

impl Bound {
    /// With these values, if no sum of them can have overflowed then.
    fn with(self, values: &[ArrayRef]) -> Option<Self> {
        let Some(values) = values.first() else { return Some(self) };
        let decimals = values.as_primitive::<Decimal128Type>().values();
        // NULLs are seen, too: what stands below them makes the bound larger, never smaller.
        let largest = decimals.iter().fold(self.largest, |largest, value| largest.max(value.unsigned_abs()));
        let bound = Self { values: self.values + decimals.len() as u128, largest };
        (bound.values.checked_mul(largest)? <= i128::MAX.unsigned_abs()).then_some(bound)
    }
}

impl Narrow {
    /// A sum of `wide_type`, a `Decimal256`, over values of the same scale.
    pub(super) fn new(wide_type: &DataType, make: Make) -> Result<Self> {
        let scale = match wide_type {
            DataType::Decimal256(_, scale) => *scale,
            _ => 0,
        };
        let narrow_type = DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale);
        let narrow = make(&narrow_type)?;
        let wide_type = wide_type.clone();
        Ok(Self { make, wide_type, narrow_type, narrow, wide: None, bound: Bound::default() })
    }

    fn wide(&mut self) -> Result<&mut Box<dyn Accumulator>> {
        if self.wide.is_none() {
            self.wide = Some((self.make)(&self.wide_type)?);
        }
        self.wide.as_mut().ok_or_else(|| internal_datafusion_err!("a sum was not kept"))
    }

    /// What was summed in 128 bits since the last time.
    fn take_narrow(&mut self) -> Result<Box<dyn Accumulator>> {
        self.bound = Bound::default();
        Ok(std::mem::replace(&mut self.narrow, (self.make)(&self.narrow_type)?))
    }

    fn widened(&self, values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        Ok(values.iter().map(|values| cast(values, &self.wide_type)).collect::<Result<_, _>>()?)
    }

    fn move_over(&mut self) -> Result<()> {
        let sum = self.take_narrow()?.evaluate()?.to_array()?;
        let sum = self.widened(&[sum])?;
        self.wide()?.merge_batch(&sum)
    }
}

impl Accumulator for Narrow {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut bound = self.bound.with(values);
        if bound.is_none() {
            self.move_over()?;
            bound = self.bound.with(values);
        }
        match bound {
            Some(bound) => {
                self.bound = bound;
                self.narrow.update_batch(values)
            }
            None => {
                let values = self.widened(values)?;
                self.wide()?.update_batch(&values)
            }
        }
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.wide {
            None => self.narrow.evaluate()?.cast_to(&self.wide_type),
            Some(_) => {
                self.move_over()?;
                self.wide()?.evaluate()
            }
        }
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.wide()?.merge_batch(states)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.narrow.size() + self.wide.as_ref().map_or(0, |wide| wide.size())
    }
}

impl fmt::Debug for Narrow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Narrow").field("wide_type", &self.wide_type).field("bound", &self.bound).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{array::Decimal128Array, datatypes::i256};

    use super::*;
    use crate::sql::aggregates::single;

    const LARGE: i128 = 99_999_999_999_999_999_999_999_999_999_999_999_999;

    fn wide() -> DataType {
        DataType::Decimal256(48, 2)
    }

    fn decimals(values: &[Option<i128>]) -> Vec<ArrayRef> {
        vec![Arc::new(Decimal128Array::from(values.to_vec()).with_data_type(DataType::Decimal128(38, 2)))]
    }

    #[test]
    fn sums_that_need_256_bits_are_exact_and_others_too() {
        let check = |batches: &[&[Option<i128>]], expect: Option<i256>| {
            let mut sum = Narrow::new(&wide(), single).unwrap();
            batches.iter().for_each(|batch| sum.update_batch(&decimals(batch)).unwrap());
            assert_eq!(sum.evaluate().unwrap(), ScalarValue::Decimal256(expect, 48, 2), "{batches:?}");
        };
        let many = i256::from_i128(LARGE);
        let times = |count: i128| many.wrapping_mul(i256::from_i128(count));
        check(&[], None);
        check(&[&[None]], None);
        check(&[&[Some(1), None], &[Some(-3)]], Some(i256::from_i128(-2)));
        check(&[&[Some(LARGE)], &[Some(LARGE)], &[Some(1)]], Some(times(2).wrapping_add(i256::ONE)));
        check(&[&[Some(LARGE); 5], &[Some(2)]], Some(times(5).wrapping_add(i256::from_i128(2))));
        check(&[&[Some(-LARGE), Some(-LARGE), Some(-LARGE)], &[Some(LARGE)]], Some(times(-2)));
    }
}
